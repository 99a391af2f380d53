import { expect, it } from 'vitest';
import { callerAddress } from '../../../src/http/caller/address.ts';
import type { HttpContext } from '../../../src/http/server/context.ts';

function addressOf(remoteAddress: string, forwarded: string | undefined, ...trusted: string[]): string {
  const c = { env: { incoming: { socket: { remoteAddress } } }, req: { header: () => forwarded } };
  return callerAddress(trusted)(c as unknown as HttpContext);
}

it.each([
  ['10.0.0.1', undefined, [], '10.0.0.1'],
  ['::ffff:10.0.0.1', undefined, [], '10.0.0.1'],
  ['10.0.0.1', '192.0.2.1', [], '10.0.0.1'], // without a trusted proxy, the caller may have written the header
  ['10.0.0.1', '192.0.2.1', ['10.0.0.0/8'], '192.0.2.1'],
  ['::ffff:10.0.0.1', '192.0.2.1', ['10.0.0.1'], '192.0.2.1'],
  ['10.0.0.1', '198.51.100.9, 192.0.2.1, 10.3.4.5', ['10.0.0.0/8'], '192.0.2.1'],
  ['10.0.0.1', 'rubbish', ['10.0.0.0/8'], '10.0.0.1'],
  ['10.0.0.1', undefined, ['10.0.0.0/8'], '10.0.0.1'],
  ['192.0.2.7', '198.51.100.9', ['10.0.0.0/8'], '192.0.2.7'],
  ['2001:db8:1:2:3:4:5:6', undefined, [], '2001:db8:1:2::/64'],
  ['2001:db8::6', undefined, [], '2001:db8:0:0::/64'],
  ['fe80::1%eth0', undefined, [], 'fe80:0:0:0::/64'],
  ['fd00::1', '2001:db8:1:2::9', ['fd00::/8'], '2001:db8:1:2::/64'],
])('a connection from %s with X-Forwarded-For %s and trusted %s is from %s', (remote, forwarded, trusted, expected) => {
  expect(addressOf(remote, forwarded, ...trusted)).toBe(expected);
});

it.each(['proxy', '10.0.0.0/33', '10.0.0.0/x', '', 'fd00::/129'])('refuses %j as a network', (text) => {
  expect(() => callerAddress([text])).toThrow('REGISTRY_TRUSTED_PROXIES');
});
