import { BlockList, isIP, isIPv6 } from 'node:net';
import type { HttpContext } from '../server/context.ts';

/** Returns the network that a request comes from. */
export type CallerAddress = (c: HttpContext) => string;

/**
 * Returns the address of the connection. If that is a trusted proxy, it returns the last address in X-Forwarded-For
 * that is not: the caller may have written those before it.
 *
 * @param trusted addresses and networks, such as `10.0.0.0/8`
 * @throws {Error} for any other text
 */
export function callerAddress(trusted: readonly string[]): CallerAddress {
  const proxies = new BlockList();
  for (const network of trusted) addTo(proxies, network);
  const isProxy = (address: string) => isIP(address) > 0 && proxies.check(address, isIPv6(address) ? 'ipv6' : 'ipv4');
  return (c) => {
    let address = plain(c.env.incoming.socket.remoteAddress ?? '');
    const forwarded = (c.req.header('x-forwarded-for') ?? '').split(',').map((text) => text.trim());
    while (isProxy(address)) {
      const next = plain(forwarded.pop() ?? '');
      if (isIP(next) === 0) break;
      address = next;
    }
    return network(address);
  };
}

function addTo(list: BlockList, text: string): void {
  const [address = '', prefix] = text.split('/');
  const family = isIPv6(address) ? 'ipv6' : 'ipv4';
  const longest = family === 'ipv6' ? 128 : 32;
  const length = prefix === undefined ? longest : Number(prefix);
  if (isIP(address) === 0 || !Number.isInteger(length) || length < 0 || length > longest) {
    throw new Error(`REGISTRY_TRUSTED_PROXIES: "${text}" is not an address or a network such as 10.0.0.0/8.`);
  }
  list.addSubnet(address, length, family);
}

/** Returns an IPv4 address without the prefix of a dual-stack socket, as in `::ffff:10.0.0.1`. */
function plain(address: string): string {
  return address.startsWith('::ffff:') && address.includes('.') ? address.slice('::ffff:'.length) : address;
}

/** Returns the /64 of an IPv6 address, since one caller can use all of it. */
function network(address: string): string {
  if (!isIPv6(address)) return address;
  const [head = '', tail] = address.split('%')[0]!.split('::');
  const first = head === '' ? [] : head.split(':');
  const last = tail ? tail.split(':') : [];
  const groups = tail === undefined ? first : [...first, ...Array(8 - first.length - last.length).fill('0'), ...last];
  return `${groups.slice(0, 4).join(':')}::/64`;
}
