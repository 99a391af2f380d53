import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { jetstreamManager } from '@nats-io/jetstream';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { describe, expect, it, onTestFinished } from 'vitest';
import { NONCES } from '../../src/access/nonces.ts';
import { signRequest } from '../../src/access/signatures.ts';
import { parseSigningKey } from '../../src/access/signing-key.ts';
import { digestField } from '../../src/domain/digest.ts';
import { connected, startNats } from '../support/nats.ts';
import { cli, cliWith, startProgram } from '../support/program.ts';
import {
  emptyProgram,
  formOf,
  ok,
  problemOf,
  publish,
  send,
  sha256,
  shared,
  stored,
  until,
  versionForm,
  volumeFolder,
} from './support.ts';

interface Made {
  id: string;
  key: string;
  kind: string;
}

interface Asked {
  method?: string;
  path?: string;
  json?: unknown;
  /** The host and port to sign, if not those of the request. */
  authority?: string;
  now?: Date;
}

const started = shared(async (ends) => {
  const program = await emptyProgram(ends);
  await publish(program, '1.0.0', { 'model.txt': 'one' }, 'fraud');
  await publish(program, '1.0.0');
  return program;
});

const make = (reach: object, more: object = {}, program = started()): Promise<Made> =>
  ok(program, 'POST', '/api/keys', { name: 'installer', reach, signing: true, ...more });
const makeReader = () => make({ allow: ['read'] });

/** Returns a signed request for `fetch`; sent again, it has the same bytes. */
function signed(url: string, key: string, { method = 'GET', path = '/api/models', json, authority, now }: Asked = {}) {
  const body = json === undefined ? null : JSON.stringify(json);
  const headers: Record<string, string> =
    body === null ? {} : { 'content-type': 'application/json', 'content-digest': digestField(digestOf(body)) };
  const request = { method, target: path, authority: authority ?? new URL(url).host, headers };
  const nonce = randomBytes(16).toString('base64url');
  const signature = signRequest(request, parseSigningKey(key)!, { now: now ?? new Date(), nonce });
  return { method, headers: { ...headers, ...signature }, body };
}

const digestOf = (bytes: string) => sha256(bytes) as `sha256:${string}`;

async function ask(key: string, asked: Asked = {}, url = started().url): Promise<Response> {
  return fetch(url + (asked.path ?? '/api/models'), signed(url, key, asked));
}

const activation = (environment: string, path = '/api/models/fraud/versions/1.0.0/activate'): Asked => ({
  method: 'POST',
  path,
  json: { environment },
});

describe('a signed request', () => {
  it('allows what its key allows, and acts under the name of the key', async () => {
    const { key, kind } = await make({ allow: ['read', 'activate'], models: ['fraud'], environments: ['dev'] });
    expect(kind).toBe('signing');
    expect((await ask(key, { path: '/api/models/fraud/versions?page_size=1&status=ready' })).status).toBe(200);
    await problemOf(await ask(key, activation('production')), 403, 'forbidden');
    await problemOf(await ask(key, { method: 'POST', path: '/api/keys', json: {} }), 403, 'forbidden');
    expect((await ask(key, activation('dev'))).status).toBe(200);
    const { events } = await ok(started(), 'GET', '/api/models/fraud/history?type=version.activated');
    expect(events[0].actor).toBe('key:installer');
    const secret = key.slice('sbs_0123456789ab_'.length); // the secret may contain an underscore
    expect(JSON.stringify(await ok(started(), 'GET', '/api/keys')) + started().lines.join()).not.toContain(secret);
  });

  it('is signed with the path as it is sent, which may be an alias', async () => {
    const { key } = await make({ allow: ['read', 'activate'] });
    expect((await ask(key, { path: '/api/registry/models/1.0.0' })).status).toBe(200);
    expect((await ask(key, activation('dev', '/api/registry/models/1.0.0/activate'))).status).toBe(200);
    expect((await ask(key, { method: 'HEAD' })).status).toBe(200);
  });

  it('is refused if the bytes, method, path, query or host differ', async () => {
    const { key } = await make({ allow: 'all' });
    const { url } = started();
    const before = await stored(started());
    const asked = activation('staging');
    const fresh = () => signed(url, key, asked);
    const other = '{"environment":"dev"}';
    await problemOf(await fetch(url + asked.path, { ...fresh(), body: other }), 400, 'checksum-mismatch');
    const headers = { ...fresh().headers, 'content-digest': digestField(digestOf(other)) };
    const refused = async (path: string, init: RequestInit) =>
      problemOf(await fetch(url + path, init), 401, 'unauthenticated');
    await refused(asked.path!, { ...fresh(), headers, body: other });
    await refused('/api/models', { ...signed(url, key, { method: 'HEAD' }), method: 'GET' });
    await refused('/api/models/default/versions/1.0.0/activate', fresh());
    await refused('/api/registry/models/1.0.0/activate', fresh());
    await refused(`${asked.path}?dry_run=true`, fresh());
    await refused(asked.path!, signed(url, key, { ...asked, authority: 'elsewhere.example' }));
    await refused(asked.path!, { ...fresh(), headers: { ...fresh().headers, 'content-type': 'text/json' } });
    expect(await stored(started())).toEqual(before);
  });

  it('must announce its body in SHA-256', async () => {
    const { key } = await make({ allow: 'all' });
    const { url } = started();
    const { path = '', json } = activation('staging');
    const without = { ...signed(url, key, { method: 'POST', path }), body: JSON.stringify(json) };
    await problemOf(await fetch(url + path, without), 401, 'unauthenticated');
    const headers: Record<string, string> = {
      'content-type': 'application/json',
      'content-digest': `sha-512=:${Buffer.alloc(64).toString('base64')}:`,
    };
    const request = { method: 'POST', target: path, authority: new URL(url).host, headers };
    const nonce = randomBytes(16).toString('base64url');
    const signature = signRequest(request, parseSigningKey(key)!, { now: new Date(), nonce });
    const init = { method: 'POST', headers: { ...headers, ...signature }, body: JSON.stringify(json) };
    expect(await problemOf(await fetch(url + path, init), 401, 'unauthenticated')).toMatchObject({
      detail: expect.stringContaining('no sha-256'),
    });
  });

  it('is refused if its clock differs by ten minutes', async () => {
    const { key } = await makeReader();
    for (const minutes of [-10, 10]) {
      const now = new Date(Date.now() + minutes * 60_000);
      const { detail } = await problemOf(await ask(key, { now }), 401, 'unauthenticated');
      expect(detail).toContain('Check your clock.');
    }
  });

  it('is refused with a key that is unknown, expired, revoked or a bearer key', async () => {
    const { id, key } = await makeReader();
    const expired = await make({ allow: ['read'] }, { expires_at: '2026-01-01T00:00:00Z' });
    const bearer = await ok(started(), 'POST', '/api/keys', { name: 'k', reach: { allow: ['read'] } });
    const unknown = key.replace(id, '0'.repeat(12));
    for (const wrong of [expired.key, unknown, bearer.key.replace('sbk_', 'sbs_')]) {
      await problemOf(await ask(wrong), 401, 'unauthenticated');
    }
    expect((await ask(key)).status).toBe(200);
    const sent = await fetch(`${started().url}/api/models`, { headers: { Authorization: `Bearer ${key}` } });
    expect((await problemOf(sent, 401, 'unauthenticated')).detail).toContain('must not be sent');
    await ok(started(), 'DELETE', `/api/keys/${id}`);
    await problemOf(await ask(key), 401, 'unauthenticated');
  });

  it('can be signed for the public address behind a proxy', async () => {
    const program = await startProgram(await volumeFolder(), { REGISTRY_PUBLIC_URL: 'https://registry.example/' });
    const { key } = await make({ allow: ['read'] }, {}, program);
    expect((await ask(key, { authority: 'registry.example' }, program.url)).status).toBe(200);
    expect((await ask(key, {}, program.url)).status).toBe(200);
    await problemOf(await ask(key, { authority: 'other.example' }, program.url), 401, 'unauthenticated');
  });
});

describe('a nonce', () => {
  it('is valid once: on this server, on another, and after a restart', async () => {
    const nats = await startNats(process.env.NATS_SERVER_BIN!);
    const env = {
      NATS_URL: nats.url,
      REGISTRY_JWT_SECRET: 's'.repeat(32),
      REGISTRY_PUBLIC_URL: 'http://registry.example',
    };
    const volume = await volumeFolder();
    const first = await startProgram(volume, env);
    const second = await startProgram(await volumeFolder(), env);
    const { key } = await make({ allow: ['read'] }, {}, first);
    const replayed = signed(first.url, key, { authority: 'registry.example' });
    const refused = async (url: string) => {
      const response = await fetch(`${url}/api/models`, replayed);
      expect((await problemOf(response, 401, 'unauthenticated')).detail).toContain('already used');
    };
    expect((await fetch(`${first.url}/api/models`, replayed)).status).toBe(200);
    await refused(first.url);
    expect((await ask(key, {}, second.url)).status).toBe(200);
    await refused(second.url);
    await first.stop();
    const again = await startProgram(volume, env);
    await refused(again.url);
    await nats.kill();
    await problemOf(await ask(key, {}, again.url), 503, 'log-unavailable');
    await nats.start();
    await until(async () => (await ask(key, {}, again.url)).status === 200);
    await refused(again.url);
  });

  it('is stored only for requests within the limit of the key', async () => {
    const nats = await startNats(process.env.NATS_SERVER_BIN!);
    const program = await startProgram(await volumeFolder(), { NATS_URL: nats.url, REGISTRY_RATE_LIMIT: '5' });
    const { key } = await make({ allow: ['read'] }, {}, program);
    const answers = [];
    for (let i = 0; i < 12; i++) answers.push(await ask(key, {}, program.url));
    expect(answers.map(({ status }) => status)).toEqual([...Array(5).fill(200), ...Array(7).fill(429)]);
    expect(answers[0]!.headers.get('ratelimit')).toMatch(/^"requests";r=4;/);
    await problemOf(answers[11]!, 429, 'too-many-requests');
    const jsm = await jetstreamManager((await connected(nats)).nc);
    expect((await jsm.streams.info(`KV_${NONCES}`)).state.messages).toBe(5);
  });

  it('is valid once among concurrent requests', async () => {
    const { key } = await makeReader();
    const same = signed(started().url, key);
    const answers = await Promise.all(Array.from({ length: 20 }, () => fetch(`${started().url}/api/models`, same)));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
  });
});

describe('Content-Digest', () => {
  const other = { 'Content-Digest': digestField(digestOf('other bytes')) };

  it.each<[string, string, string, string | FormData, Record<string, string>]>([
    ['a blob', 'PUT', `/api/blobs/${sha256('a blob')}`, 'a blob', {}],
    ['JSON', 'POST', '/api/models/fraud/versions/1.0.0/activate', '{}', { 'Content-Type': 'application/json' }],
    ['a multipart version', 'POST', '/api/models/fraud/versions', versionForm({ version: '9.0.0' }, { a: 'b' }), {}],
    ['a broken multipart version', 'POST', '/api/models/fraud/versions', formOf([['a', 'b']]), {}],
  ])('is checked for %s without a signature', async (name, method, path, body, headers) => {
    const before = await stored(started());
    const code = name.startsWith('a broken') ? 'invalid-request' : 'checksum-mismatch';
    await problemOf(await send(started(), method, path, body, { ...headers, ...other }), 400, code);
    expect(await stored(started())).toEqual(before);
  });

  it('accepts matching bytes and ignores unknown algorithms', async () => {
    const path = `/api/blobs/${sha256('fits')}`;
    for (const header of [digestField(digestOf('fits')), 'md5=:AAAA:']) {
      expect((await send(started(), 'PUT', path, 'fits', { 'Content-Digest': header })).ok).toBe(true);
    }
    for (const header of ['sha-256=:AAAA:', 'sha-256=1', '=']) {
      await problemOf(await send(started(), 'PUT', path, 'fits', { 'Content-Digest': header }), 400, 'invalid-request');
    }
  });
});

describe('signing keys', () => {
  it('are created by the command line, which then signs instead of sending a token', async () => {
    const run = await cli(started(), 'key', 'create', 'ci', '--signing', '--allow', 'read', 'activate', '--days', '30');
    expect(run).toMatchObject({ code: 0, stdout: expect.stringMatching(/^sbs_[0-9a-f]{12}_\S{43}\n$/) });
    const key = run.stdout.trim();
    const id = key.split('_')[1]!;
    expect((await cli(started(), 'key', 'list')).stdout).toMatch(
      new RegExp(`^${id} +ci +signing +read,activate `, 'm'),
    );
    const variables = { REGISTRY_DSN: started().url, REGISTRY_SIGNING_KEY: key, REGISTRY_VOLUME: '/nowhere' };
    const activate = ['activate', '1.0.0', '-m', 'fraud', '--env', 'staging', '--reason', 'signed'];
    expect(await cliWith(variables, ...activate)).toMatchObject({ code: 0, stderr: '' });
    expect((await cliWith(variables, 'list', '-m', 'fraud')).stdout).toContain('1.0.0');
    expect((await cliWith({ ...variables, REGISTRY_SIGNING_KEY: 'sbk_x' }, 'list')).code).toBe(2);
    await cli(started(), 'key', 'revoke', id);
    expect((await cliWith(variables, 'list')).code).toBe(1);
  });

  it('are not created if the registry has no secret to derive them from', async () => {
    const { publicKey, privateKey } = await generateKeyPair('EdDSA');
    const jwk = { ...(await exportJWK(publicKey)), kid: 'k', alg: 'EdDSA' };
    const provider = createServer((_, response) => response.end(JSON.stringify({ keys: [jwk] })));
    provider.listen(0, '127.0.0.1');
    await once(provider, 'listening');
    onTestFinished(() => void provider.close());
    const { port } = provider.address() as { port: number };
    const program = await startProgram(await volumeFolder(), {
      HOST: '0.0.0.0',
      REGISTRY_JWKS_URL: `http://127.0.0.1:${port}/`,
      REGISTRY_JWT_ISSUER: 'issuer',
      REGISTRY_JWT_AUDIENCE: 'signalbox',
    });
    const token = await new SignJWT({ role: 'admin', iss: 'issuer', aud: 'signalbox' })
      .setProtectedHeader({ alg: 'EdDSA', kid: 'k' })
      .setSubject('ana')
      .setExpirationTime('5m')
      .sign(privateKey);
    const response = await fetch(`http://127.0.0.1:${new URL(program.url).port}/api/keys`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' },
      body: JSON.stringify({ name: 'installer', reach: { allow: 'all' }, signing: true }),
    });
    expect((await problemOf(response, 400, 'invalid-request')).detail).toContain('REGISTRY_JWT_SECRET');
  });
});
