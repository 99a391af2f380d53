import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { base64url, exportJWK, exportSPKI, generateKeyPair, type JWTPayload, SignJWT } from 'jose';
import { describe, expect, it, onTestFinished } from 'vitest';
import { createSessions, SESSION_COOKIE } from '../../src/access/sessions.ts';
import { signToken, tokenVerifier } from '../../src/access/tokens.ts';

const SECRET = Buffer.from('a secret of at least thirty-two bytes');
const ISSUER = 'https://login.example.org';
const AUDIENCE = 'signalbox';

/** Starts an identity provider that serves its keys over HTTP. The last key signs. */
async function provider({ named = true } = {}) {
  const keys: { kid: string; pair: Awaited<ReturnType<typeof generateKeyPair>> }[] = [];
  let requests = 0;
  let failing = false;
  const server = createServer(async (_, response) => {
    requests++;
    if (failing) return response.writeHead(500).end();
    const published = keys.map(async ({ kid, pair }) => ({
      ...(await exportJWK(pair.publicKey)),
      ...(named && { kid }),
      alg: 'ES256',
    }));
    response.end(JSON.stringify({ keys: await Promise.all(published) }));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  const rotate = async () => {
    keys.push({ kid: `k${keys.length}`, pair: await generateKeyPair('ES256', { extractable: true }) });
    if (keys.length > 2) keys.shift();
  };
  await rotate();
  const sign = (claims: JWTPayload, { iss = ISSUER, aud = AUDIENCE, exp = '10m', by = keys.at(-1)! } = {}) => {
    const { kid, pair } = by;
    const header = { alg: 'ES256', ...(named && { kid }) };
    const token = new SignJWT(claims).setProtectedHeader(header).setIssuer(iss).setAudience(aud);
    return token.setSubject('ana').setExpirationTime(exp).sign(pair.privateKey);
  };
  const jwksUrl = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks`);
  const options = { jwksUrl, issuer: ISSUER, audience: AUDIENCE };
  const fail = (now: boolean) => {
    failing = now;
  };
  return { options, rotate, sign, keys, server, fail, requests: () => requests };
}

const refused = { code: 'unauthenticated' };

describe('a token signed with the secret', () => {
  const verify = tokenVerifier({ secrets: [SECRET] });

  it('gives the caller, and is verified once', async () => {
    const token = await signToken(SECRET, { actor: 'ci', role: 'admin' }, 60, new Date());
    expect(await verify(token)).toEqual({ actor: 'ci', role: 'admin', groups: [], expires_at: expect.any(Date) });
    expect(verify(token)).not.toBeInstanceOf(Promise);
  });

  it('may expire later than the largest Date', async () => {
    const claims = { sub: 'ci', exp: Number.MAX_SAFE_INTEGER };
    const identity = await verify(await new SignJWT(claims).setProtectedHeader({ alg: 'HS256' }).sign(SECRET));
    expect(identity.expires_at?.getTime()).toBe(8.64e15);
  });

  it('is refused if it is altered, expired, not yet valid, unsigned, too long or not a token', async () => {
    const token = await signToken(SECRET, { actor: 'ci', role: 'user' }, 60, new Date());
    const [header, , signature] = token.split('.');
    const unsigned = (claims: object) =>
      `${base64url.encode('{"alg":"none"}')}.${base64url.encode(JSON.stringify(claims))}.`;
    const sign = (claims: JWTPayload) => new SignJWT(claims).setProtectedHeader({ alg: 'HS256' }).sign(SECRET);
    const now = Math.floor(Date.now() / 1000);
    for (const wrong of [
      `${header}.${base64url.encode(JSON.stringify({ sub: 'ci', role: 'admin', exp: now + 60 }))}.${signature}`,
      await signToken(SECRET, { actor: 'ci', role: 'admin' }, -600, new Date()),
      await sign({ sub: 'ci', role: 'admin', exp: now + 60, nbf: now + 600 }),
      await sign({ sub: 'ci', role: 'admin' }),
      await sign({ role: 'admin', exp: now + 60 }),
      unsigned({ sub: 'ci', role: 'admin', exp: now + 60 }),
      await sign({ sub: 'ci', exp: now + 60, padding: 'x'.repeat(10_000) }),
      `${token}x`,
      'rubbish',
      'a.b.c',
      '',
    ]) {
      await expect(async () => verify(wrong), wrong).rejects.toMatchObject(refused);
    }
  });
});

describe('a subject that is not a valid actor name', () => {
  it.each([
    ['key:installer', 'reserved'],
    ['volume', 'reserved'],
    ['registry', 'reserved'],
    ['ana\u202e', 'U+202E'],
    ['ana\n', 'U+000A'],
  ])('is refused with the reason: %j', async (actor, why) => {
    const token = await signToken(SECRET, { actor, role: 'admin' }, 60, new Date());
    await expect(async () => tokenVerifier({ secrets: [SECRET] })(token)).rejects.toMatchObject({
      ...refused,
      message: expect.stringContaining(why),
    });
  });

  it('is refused in a session that began with it', async () => {
    const sessions = createSessions([SECRET]);
    const { cookie } = await sessions.begin({ actor: 'key:installer', role: 'admin', groups: [] });
    const value = cookie.slice(SESSION_COOKIE.length + 1, cookie.indexOf(';'));
    await expect(async () => sessions.verify(value)).rejects.toMatchObject(refused);
  });
});

describe('a provider’s token', () => {
  it('gives role and groups from the configured claims', async () => {
    const { options, sign } = await provider();
    const verify = tokenVerifier({
      secrets: [],
      provider: options,
      roleClaim: 'https://example.org/role',
      groupsClaim: 'realm_access.roles',
    });
    const token = await sign({ 'https://example.org/role': 'user', realm_access: { roles: ['risk', 'ops'] } });
    expect(await verify(token)).toMatchObject({ actor: 'ana', role: 'user', groups: ['risk', 'ops'] });
    expect(await verify(await sign({ role: 'admin', realm_access: { roles: 'all' } }))).toMatchObject({
      actor: 'ana',
      role: null,
      groups: [],
    });
  });

  it('is accepted as well as a token of the secret, each only with its own key', async () => {
    const { options, sign, keys } = await provider();
    const verify = tokenVerifier({ secrets: [SECRET], provider: options });
    expect(await verify(await sign({ role: 'user' }))).toMatchObject({ actor: 'ana' });
    expect(await verify(await signToken(SECRET, { actor: 'ci', role: 'admin' }, 60, new Date()))).toMatchObject({
      actor: 'ci',
    });
    // Signed with the provider's public key as if it were a shared secret.
    const publicKey = Buffer.from(await exportSPKI(keys[0]!.pair.publicKey));
    const confused = await signToken(publicKey, { actor: 'mallory', role: 'admin' }, 60, new Date());
    await expect(async () => verify(confused)).rejects.toMatchObject(refused);
    await expect(async () => tokenVerifier({ secrets: [], provider: options })(confused)).rejects.toMatchObject(
      refused,
    );
  });

  it('is refused with another audience, issuer or key, or if it has expired', async () => {
    const { options, sign } = await provider();
    const stranger = await provider();
    const verify = tokenVerifier({ secrets: [], provider: options });
    for (const wrong of [
      await sign({ role: 'admin' }, { aud: 'another-service' }),
      await sign({ role: 'admin' }, { iss: 'https://evil.example.org' }),
      await sign({ role: 'admin' }, { exp: '-10m' }),
      await stranger.sign({ role: 'admin' }),
    ]) {
      await expect(async () => verify(wrong)).rejects.toMatchObject(refused);
    }
  });

  it('is verified with a key that was added after the start', async () => {
    const { options, sign, rotate, requests } = await provider();
    await rotate();
    const verify = tokenVerifier({ secrets: [], provider: options, keysCooldownMs: 0 });
    await verify(await sign({ role: 'user' }));
    await rotate();
    expect(await verify(await sign({ role: 'user', again: true }))).toMatchObject({ actor: 'ana' });
    expect(requests()).toBe(2);
  });

  it('is refused with 503, not 401, while the provider is unavailable', async () => {
    const { options, sign, server } = await provider();
    const token = await sign({ role: 'user' });
    server.close();
    server.closeAllConnections();
    const verify = tokenVerifier({ secrets: [], provider: options });
    await expect(async () => verify(token)).rejects.toMatchObject({ code: 'identity-unavailable', status: 503 });
  });

  it('without a key id is verified with each of several keys', async () => {
    const { options, sign, rotate, keys } = await provider({ named: false });
    await rotate();
    const verify = tokenVerifier({ secrets: [], provider: options });
    for (const by of keys) expect(await verify(await sign({ role: 'user' }, { by }))).toMatchObject({ actor: 'ana' });
    await expect(async () => verify(await sign({ role: 'user' }, { exp: '-10m' }))).rejects.toMatchObject({
      ...refused,
      fields: { expired: true },
    });
    const stranger = await provider({ named: false });
    const wrong = await stranger.sign({ role: 'admin' });
    await expect(async () => verify(wrong)).rejects.toMatchObject({ ...refused, fields: { expired: false } });
  });

  it('causes one request to a failing provider, for concurrent and for later tokens', async () => {
    const { options, sign, fail, requests } = await provider();
    const tokens = await Promise.all(Array.from({ length: 10 }, (_, n) => sign({ n })));
    const unavailable = { code: 'identity-unavailable' };
    fail(true);
    const verify = tokenVerifier({ secrets: [], provider: options, keysRetryMs: 3600_000 });
    await Promise.all(tokens.map((token) => expect(async () => verify(token)).rejects.toMatchObject(unavailable)));
    for (const token of tokens) await expect(async () => verify(token)).rejects.toMatchObject(unavailable);
    expect(requests()).toBe(1);
    fail(false);
    await expect(async () => verify(tokens[0]!)).rejects.toMatchObject(unavailable);
    expect(requests()).toBe(1);
  });

  it('is verified again once the provider has recovered', async () => {
    const { options, sign, fail } = await provider();
    const verify = tokenVerifier({ secrets: [], provider: options, keysRetryMs: 0 });
    const token = await sign({ role: 'user' });
    fail(true);
    await expect(async () => verify(token)).rejects.toMatchObject({ code: 'identity-unavailable' });
    fail(false);
    expect(await verify(token)).toMatchObject({ actor: 'ana' });
  });

  it('is verified with a known key while the provider fails', async () => {
    const { options, sign, rotate, fail } = await provider();
    const verify = tokenVerifier({ secrets: [], provider: options, keysCooldownMs: 0, keysRetryMs: 3600_000 });
    await verify(await sign({ role: 'user' }));
    const known = await sign({ role: 'user', again: true });
    fail(true);
    await rotate();
    await expect(async () => verify(await sign({ role: 'user' }))).rejects.toMatchObject({ status: 503 });
    expect(await verify(known)).toMatchObject({ actor: 'ana' });
  });
});
