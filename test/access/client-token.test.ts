import { describe, expect, it } from 'vitest';
import { clientTokens, localActor } from '../../src/access/client-token.ts';
import { isLoopback } from '../../src/access/loopback.ts';
import { ensureSecret } from '../../src/access/secret.ts';
import { tokenVerifier } from '../../src/access/tokens.ts';
import { temporaryFolder } from '../support/folder.ts';

describe('a token signed with the local secret', () => {
  it('is only sent to this machine', async () => {
    const REGISTRY_VOLUME = await temporaryFolder();
    await ensureSecret(REGISTRY_VOLUME);
    const tokenFor = (REGISTRY_DSN: string) => clientTokens({ REGISTRY_DSN, REGISTRY_VOLUME })();
    for (const dsn of ['http://127.0.0.1:8080', 'http://127.1:1', 'http://localhost', 'http://[::1]:8080']) {
      expect(await tokenFor(dsn)).toMatch(/^ey/);
    }
    for (const dsn of ['http://127.example.org', 'http://127.0.0.1.example.org', 'http://localhost.example.org']) {
      await expect(tokenFor(dsn)).rejects.toMatchObject({ code: 'unauthenticated' });
    }
  });

  it('is signed with the newest configured secret, if there is one', async () => {
    const secrets = ['n'.repeat(32), 'o'.repeat(32)];
    const source = {
      REGISTRY_DSN: 'http://127.0.0.1',
      REGISTRY_VOLUME: await temporaryFolder(),
      REGISTRY_JWT_SECRET: secrets,
    };
    const verify = tokenVerifier({ secrets: [Buffer.from(secrets[0]!)] });
    expect(await verify(await clientTokens(source)())).toMatchObject({ role: 'admin' });
    const elsewhere = { ...source, REGISTRY_DSN: 'https://registry.example.org' };
    await expect(clientTokens(elsewhere)()).rejects.toMatchObject({ code: 'unauthenticated' });
  });

  it('does not replace REGISTRY_TOKEN', async () => {
    const given = {
      REGISTRY_DSN: 'https://registry.example.org',
      REGISTRY_TOKEN: 'given',
      REGISTRY_VOLUME: '/nowhere',
    };
    expect(await clientTokens(given)()).toBe('given');
  });
});

it('acts as the user of this machine, with a prefix if the name is reserved', () => {
  expect(['ana', 'registry', 'volume'].map(localActor)).toEqual(['ana', 'local:registry', 'local:volume']);
});

it('a host that only begins like a loopback address is not one', () => {
  expect(['127.0.0.1', '127.8.9.1', '::1', '[::1]', 'localhost'].every(isLoopback)).toBe(true);
  expect(['127.example.org', '0.0.0.0', '10.0.0.1', '::', '', '127.'].some(isLoopback)).toBe(false);
});
