import { request } from 'node:http';
import { decodeJwt } from 'jose';
import { describe, expect, it } from 'vitest';
import { signToken } from '../../src/access/tokens.ts';
import { startProgram } from '../support/program.ts';
import { emptyProgram, publish, shared, volumeFolder } from './support.ts';

const PUBLIC = 'https://models.example.org';
const SECRET = 'a secret of at least thirty-two bytes';
const NEWER = 'a newer one of at least thirty-two bytes';

const started = shared(async (ends) => {
  const env = {
    REGISTRY_PUBLIC_URL: PUBLIC,
    REGISTRY_CORS_ORIGINS: 'https://console.example.org',
    REGISTRY_JWT_SECRET: SECRET,
  };
  const program = await emptyProgram(ends, env);
  await publish(program, '1.0.0', { 'model.txt': 'one' });
  await publish(program, '1.1.0', { 'model.txt': 'two' });
  return program;
});

interface Answer {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  json: { code?: string; [field: string]: unknown };
}

type Headers = Record<string, string | string[]>;

/** Sends a request with exactly these headers, by default as a browser behind a TLS proxy. */
function browse(method: string, path: string, headers: Headers = {}, body?: string, base = started().url) {
  const all = { Host: 'models.example.org', ...headers };
  return new Promise<Answer>((resolve, reject) => {
    const sent = request(base + path, { method, headers: all }, (response) => {
      let text = '';
      response.on('data', (chunk) => {
        text += chunk;
      });
      response.on('end', () => {
        const json = text.startsWith('{') ? JSON.parse(text) : {};
        resolve({ status: response.statusCode!, headers: response.headers, json });
      });
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

/** Signs in and returns the cookie. */
async function signIn(role: 'admin' | 'user' = 'admin', base = started().url, secret = SECRET): Promise<string> {
  const token = await signToken(Buffer.from(secret), { actor: 'ana', role }, 600, new Date());
  const { status, headers, json } = await browse(
    'POST',
    '/api/session',
    { Authorization: `Bearer ${token}` },
    undefined,
    base,
  );
  expect([status, json.actor, json.role]).toEqual([201, 'ana', role]);
  return cookieIn(headers);
}

function cookieIn(headers: Answer['headers']): string {
  const [cookie = ''] = headers['set-cookie'] as string[];
  expect(headers['cache-control']).toBe('no-store');
  expect(cookie).toMatch(/; HttpOnly; Secure; SameSite=Strict/);
  return cookie.split(';')[0]!;
}

const command = { Origin: PUBLIC, 'Content-Type': 'application/json' };
const activate = (cookie: string, headers: Headers = {}, version = '1.0.0') =>
  browse(
    'POST',
    `/api/registry/models/${version}/activate`,
    { Cookie: cookie, ...command, ...headers },
    '{"environment":"dev"}',
  );

describe('a session', () => {
  it('reads and sends commands as the user that signed in', async () => {
    const cookie = await signIn();
    const { json } = await browse('GET', '/api/identity', { Cookie: cookie });
    expect(json).toMatchObject({ actor: 'ana', permissions: expect.arrayContaining(['activate']) });
    expect((await activate(cookie, {}, '1.1.0')).status).toBe(200);
    const { json: history } = await browse('GET', '/api/registry/history?page_size=1', { Cookie: cookie });
    expect(history.events).toMatchObject([{ actor: 'ana', type: 'version.activated' }]);
  });

  it('allows what its role allows and no more', async () => {
    const cookie = await signIn('user');
    expect((await browse('GET', '/api/models', { Cookie: cookie })).status).toBe(200);
    expect((await activate(cookie)).json.code).toBe('forbidden');
  });

  it('is ended by an empty cookie', async () => {
    const { status, headers } = await browse('DELETE', '/api/session', { Cookie: await signIn() });
    expect([status, headers['set-cookie']]).toEqual([204, [expect.stringMatching(/^__Host-signalbox=;.*Max-Age=0/)]]);
  });

  it('ends when the token expires that began it', async () => {
    const token = await signToken(Buffer.from(SECRET), { actor: 'ana', role: 'user' }, 60, new Date());
    const { headers, json } = await browse('POST', '/api/session', { Authorization: `Bearer ${token}` });
    const { exp } = decodeJwt(token);
    expect([json.expires_at, json.ends_at]).toEqual(Array(2).fill(new Date(exp! * 1000).toISOString()));
    const [, maxAge] = /Max-Age=(\d+)$/.exec(String(headers['set-cookie']))!;
    expect(Number(maxAge)).toBeLessThanOrEqual(60);
  });

  it('begins with a token, not with a key, a session or nothing', async () => {
    const made = await started().ask('POST', '/api/keys', { name: 'scorer', reach: { allow: ['read'] } });
    const { key } = (await made.json()) as { key: string };
    const begin = (headers: Headers) => browse('POST', '/api/session', headers);
    expect((await begin({ Authorization: `Bearer ${key}` })).json.code).toBe('invalid-request');
    expect((await begin({ Cookie: await signIn(), ...command })).json.code).toBe('invalid-request');
    expect((await begin({})).json.code).toBe('unauthenticated');
  });
});

describe('a page of another site', () => {
  it.each([
    ['its own origin', { Origin: 'https://evil.example' }],
    ['no origin', { Origin: [] }],
    ['the origin null', { Origin: 'null' }],
    ['the right host over http', { Origin: 'http://models.example.org' }],
    ['another port', { Origin: 'https://models.example.org:8443' }],
    ['an origin that only begins right', { Origin: `${PUBLIC}.evil.example` }],
    ['a listed origin, which may call with tokens only', { Origin: 'https://console.example.org' }],
    ['a name that it has pointed here', { Host: 'evil.example' }],
    ['the address behind the proxy', { Host: '127.0.0.1:8080' }],
  ])('changes nothing with %s', async (_, headers) => {
    const revision = async () => (await browse('GET', '/healthz')).headers['registry-revision'];
    const before = await revision();
    const cookie = await signIn();
    const { status, json } = await activate(cookie, headers as unknown as Headers);
    expect([status, json.code]).toEqual([403, 'foreign-origin']);
    expect(await revision()).toBe(before);
  });

  it('changes nothing with a form', async () => {
    const Cookie = await signIn();
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', '']) {
      const headers = { Cookie, ...command, 'Content-Type': type };
      const { json } = await browse('POST', '/api/registry/rollback', headers, '{"reason":"x"}');
      expect(json.code, type).toBe('unsupported-media-type');
      // Nor with an empty form, or on a route that accepts forms.
      const empty = await browse('POST', '/api/registry/models/1.0.0/activate', headers);
      expect(empty.json.code, type).toBe('unsupported-media-type');
      const published = await browse('POST', '/api/registry/models', headers, '--x--');
      expect(published.json.code, type).toBe('unsupported-media-type');
    }
  });

  it('cannot read an answer, and gets no permission from a preflight request', async () => {
    const asked = await browse('OPTIONS', '/api/models', { Origin: 'https://evil.example' });
    expect(asked.status).toBe(405);
    const read = await browse('GET', '/openapi.json', { Origin: 'https://evil.example' });
    expect(read.headers['access-control-allow-origin']).toBeUndefined();
    expect(read.headers.vary).toContain('Origin');
  });
});

it('a page of a listed origin may send requests with a token, but not with a cookie', async () => {
  const Origin = 'https://console.example.org';
  const asked = await browse('OPTIONS', '/api/registry/rollback', { Origin });
  expect(asked.status).toBe(204);
  expect(asked.headers).toMatchObject({
    'access-control-allow-origin': Origin,
    'access-control-allow-methods': 'POST',
    'access-control-allow-headers': expect.stringContaining('Authorization'),
  });
  const read = await browse('GET', '/api/models', { Origin, Authorization: `Bearer ${await started().token()}` });
  expect([read.status, read.headers['access-control-allow-origin']]).toEqual([200, Origin]);
  expect(read.headers['access-control-allow-credentials']).toBeUndefined();
});

describe('a cookie', () => {
  it('is refused if it is repeated, oversized, altered or of another registry', async () => {
    const cookie = await signIn();
    const [name] = cookie.split('=');
    for (const wrong of [
      `${cookie}; ${cookie}`,
      `${cookie}x`,
      `${name}=${'x'.repeat(6_000)}`,
      `${name}=`,
      `${name}=a.b.c`,
    ]) {
      const { status, json } = await browse('GET', '/api/models', { Cookie: wrong });
      expect([status, json.code], wrong.slice(0, 40)).toEqual([401, 'unauthenticated']);
    }
    expect((await browse('GET', '/api/models', { Cookie: `a=1; ${'b'.repeat(20_000)}=2; ${cookie}` })).status).toBe(
      431,
    );
    expect((await browse('GET', '/api/models', { Cookie: `theme=dark; ${cookie}; x` })).status).toBe(200);
    expect((await browse('GET', '/api/models', { Cookie: cookie.replace('__Host-', '') })).status).toBe(401);
  });

  it('is ignored beside a token', async () => {
    const Authorization = `Bearer ${await started().token('user')}`;
    const { json } = await browse('GET', '/api/identity', { Cookie: await signIn(), Authorization });
    expect(json).toMatchObject({ actor: 'tester', permissions: ['read'] });
  });
});

it('a session stays valid after a change of the secret while the old one is listed', async () => {
  const volume = await volumeFolder();
  const begin = (secrets: string) =>
    startProgram(volume, { REGISTRY_JWT_SECRET: secrets, REGISTRY_PUBLIC_URL: PUBLIC });
  const reads = async (base: string, cookie: string) =>
    (await browse('GET', '/api/models', { Cookie: cookie }, undefined, base)).status;
  const old = await begin(SECRET);
  const cookie = await signIn('admin', old.url);
  await old.stop();
  const both = await begin(`${NEWER},${SECRET}`);
  expect(await reads(both.url, cookie)).toBe(200);
  await signIn('user', both.url, SECRET);
  const newer = await signIn('admin', both.url, NEWER);
  await both.stop();
  const only = await begin(NEWER);
  expect(await reads(only.url, cookie)).toBe(401);
  expect(await reads(only.url, newer)).toBe(200);
});

it('without a public address, sessions are valid only at loopback addresses', async () => {
  const program = await startProgram(await volumeFolder(), { REGISTRY_JWT_SECRET: SECRET });
  const cookie = await signIn('admin', program.url);
  const { host } = new URL(program.url);
  const local = { Host: host, Cookie: cookie };
  expect((await browse('GET', '/api/models', local, undefined, program.url)).status).toBe(200);
  const moved = { ...local, ...command, Origin: program.url };
  const rollback = (headers: Headers) =>
    browse('POST', '/api/registry/rollback', headers, '{"reason":"x"}', program.url);
  expect((await rollback(moved)).json.code).toBe('unknown-model');
  expect((await rollback({ ...moved, Origin: 'http://localhost:3000' })).json.code).toBe('foreign-origin');
  const pointed = { Host: 'evil.example', Cookie: cookie };
  expect((await browse('GET', '/api/models', pointed, undefined, program.url)).json.code).toBe('foreign-origin');
});

it('every answer has the security headers', async () => {
  const { headers } = await browse('GET', '/healthz');
  expect(headers).toMatchObject({
    'x-content-type-options': 'nosniff',
    'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
    'referrer-policy': 'no-referrer',
    'cross-origin-resource-policy': 'same-origin',
    'strict-transport-security': 'max-age=31536000',
  });
  const docs = await browse('GET', '/docs');
  expect(docs.headers['content-security-policy']).toMatch(/style-src 'sha256-[^']+'/);
});
