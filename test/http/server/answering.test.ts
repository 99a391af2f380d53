import { Hono } from 'hono';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { createSessions } from '../../../src/access/sessions.ts';
import { publish } from '../../../src/commands/publish.ts';
import { canonicalManifest } from '../../../src/domain/manifest.ts';
import { answering } from '../../../src/http/server/answering.ts';
import type { HttpApp } from '../../../src/http/server/context.ts';
import { route } from '../../../src/http/server/route.ts';
import { createLimiter } from '../../../src/structures/limiter.ts';
import { CONTENT, createTestApp, tokenOf } from '../support.ts';

const VERSIONS = '/api/models/fraud/versions';
const ACTIVE = `${VERSIONS}/active`;
const ORIGIN = 'https://console.example.org';

const admin = await tokenOf('ana', 'admin');
const user = await tokenOf('uwe', 'user');
const json = { 'Content-Type': 'application/json' };

/** Checks that a refusal is a whole problem document, and returns it. */
async function problemOf(response: Response, status: number, code: string) {
  const problem = JSON.parse(await response.text());
  expect([response.status, problem.code]).toEqual([status, code]);
  expect(response.headers.get('content-type')).toBe('application/problem+json');
  expect(problem).toMatchObject({
    type: `urn:signalbox:error:${code}`,
    title: expect.any(String),
    detail: expect.stringMatching(/\.$/),
    status,
    request_id: response.headers.get('x-request-id'),
  });
  return problem;
}

describe('authentication', () => {
  it.each([
    ['without a credential', {}],
    ['with a scheme other than Bearer', { Authorization: 'Basic YTpi' }],
    ['with a token that the registry did not sign', { Authorization: 'Bearer a.b.c' }],
  ])('refuses a request %s', async (_, headers) => {
    const { request } = await createTestApp();
    const response = await request(VERSIONS, { headers });
    await problemOf(response, 401, 'unauthenticated');
    expect(response.headers.get('www-authenticate')).toBe('Bearer');
  });

  it('is not needed for health and documentation', async () => {
    const { request } = await createTestApp();
    for (const path of ['/healthz', '/readyz', '/metrics', '/openapi.json', '/docs']) {
      expect((await request(path)).status, path).toBe(200);
    }
  });

  it('by a session in use renews its cookie, after half of its hour', async () => {
    let now = new Date();
    const sessions = createSessions([Buffer.from('another secret of thirty-two bytes')], () => now);
    const { request } = await createTestApp({ sessions });
    const { cookie } = await sessions.begin({ actor: 'ana', role: 'admin', groups: [] });
    const headers = { Cookie: cookie.split(';')[0]!, Host: '127.0.0.1:8080' };
    expect((await request(VERSIONS, { headers })).headers.get('set-cookie')).toBeNull();
    now = new Date(now.getTime() + 45 * 60_000);
    const later = await request(VERSIONS, { headers });
    expect([later.status, later.headers.get('set-cookie')]).toEqual([
      200,
      expect.stringContaining('__Host-signalbox='),
    ]);
  });
});

describe('authorization', () => {
  it.each([
    ['an unknown model', 'POST', '/api/models/nothing/rollback', '{}'],
    ['an invalid name', 'POST', '/api/models/NO/rollback', '{}'],
    ['an invalid body', 'POST', '/api/models/fraud/rollback', '{"reason":7}'],
    ['a body that is not JSON', 'POST', '/api/keys', 'x'],
    ['an unknown version', 'POST', `${VERSIONS}/9.9.9/archive`, '{}'],
  ])('is checked first: without the permission, %s is not reported', async (_, method, path, body) => {
    const { request } = await createTestApp();
    const refused = await request(path, { method, body, headers: { ...user, ...json } });
    const { detail, permission } = await problemOf(refused, 403, 'forbidden');
    expect(detail).toContain(`You need the permission ${permission}.`);
    expect((await request(path, { method, body, headers: { ...admin, ...json } })).status).not.toBe(403);
  });

  it('is checked for the model and the environment that the request names', async () => {
    const grant = { role: 'user', allow: ['read' as const], models: ['fraud'], environments: ['staging'] };
    const { request } = await createTestApp({ policy: { grants: [grant], limits: [] } });
    const ask = (path: string) => request(path, { headers: user });
    const where = async (path: string) => (await problemOf(await ask(path), 403, 'forbidden')).detail;
    expect(await where('/api/models/spam/versions')).toContain('the permission read for spam.');
    expect(await where(ACTIVE)).toContain('the permission read for fraud in production.');
    await problemOf(await ask(`${ACTIVE}?environment=staging`), 404, 'no-active-version');
  });
});

describe('the limit of requests', () => {
  const limited = () => createTestApp({ limiter: createLimiter({ quota: 2, window: 60 }, () => 0) });

  it('is shown in each answer, and refuses what exceeds it', async () => {
    const { request } = await limited();
    const ask = () => request(VERSIONS, { headers: admin });
    expect((await ask()).headers.get('ratelimit')).toBe('"requests";r=1;t=60');
    expect((await ask()).headers.get('ratelimit')).toBe('"requests";r=0;t=60');
    const refused = await ask();
    const { detail, retry_after } = await problemOf(refused, 429, 'too-many-requests');
    expect([retry_after, refused.headers.get('retry-after')]).toEqual([60, '60']);
    expect(refused.headers.get('ratelimit-policy')).toBe('"requests";q=2;w=60');
    expect(detail).toBe('ana may send 2 requests in 60 s. Send the next one in 60 s.');
  });

  it('is counted per caller, and per address for requests without one', async () => {
    const { request } = await limited();
    const statuses = async (path: string, asked: object) => {
      const all = [];
      for (let i = 0; i < 3; i++) all.push((await request(path, asked)).status);
      return all;
    };
    expect(await statuses(VERSIONS, { headers: admin })).toEqual([200, 200, 429]);
    expect(await statuses(VERSIONS, { headers: user })).toEqual([200, 200, 429]);
    expect(await statuses('/healthz', {})).toEqual([200, 200, 429]);
    expect(await statuses('/healthz', { from: '192.0.2.2' })).toEqual([200, 200, 429]);
  });
});

describe('an answer', () => {
  it('repeats the request id of the caller, or has a new one', async () => {
    const { request } = await createTestApp();
    const idFor = async (id: string) => (await request('/healthz', { headers: { 'X-Request-Id': id } })).headers;
    expect((await idFor('r-7:42')).get('x-request-id')).toBe('r-7:42');
    expect((await idFor('a b')).get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/);
  });

  it('states the revision that it was computed at', async () => {
    const { request, readModel } = await createTestApp();
    const { headers } = await request('/healthz');
    expect(headers.get('registry-revision')).toBe(`0-${readModel.position.epoch!.slice(0, 8)}-2`);
  });

  it('that is a list states no revision that came after it was read', async () => {
    let meanwhile = () => {};
    const list = async () => {
      meanwhile();
      return { entries: [], next: null } as never;
    };
    const { request, give } = await createTestApp({ lists: { list } });
    meanwhile = () => give(publish, 'spam', CONTENT, { at: '2026-03-03T15:00:00.000Z' });
    const { headers } = await request('/api/models', { headers: admin });
    expect(headers.get('registry-revision')).toMatch(/-2$/);
  });

  it('is marked stale while the log cannot be followed', async () => {
    const staleness = async (changed: object) => (await (await createTestApp(changed)).request('/healthz')).headers;
    expect((await staleness({})).get('registry-stale')).toBeNull();
    expect((await staleness({ stale: () => true })).get('registry-stale')).toBe('true');
  });

  it('is marked stale for a frozen model, and for no other', async () => {
    const { request, readModel, give } = await createTestApp();
    give(publish, 'spam', CONTENT, { at: '2026-03-03T15:00:00.000Z' });
    readModel.fold({ revision: 4, model: 'fraud', body: Buffer.from('x') });
    const stale = async (path: string) => (await request(path, { headers: admin })).headers.get('registry-stale');
    expect(await stale(ACTIVE)).toBe('true');
    expect(await stale('/api/models/spam/versions')).toBeNull();
  });

  it('must be revalidated by caches, and is not to be shown as a page', async () => {
    const { headers } = await (await createTestApp()).request(ACTIVE, { headers: admin });
    expect(headers.get('cache-control')).toBe('no-cache');
    expect(headers.get('x-content-type-options')).toBe('nosniff');
    expect(headers.get('content-security-policy')).toContain("default-src 'none'");
    expect(headers.get('strict-transport-security')).toBeNull();
  });

  it('demands TLS from browsers if the public address has it', async () => {
    const { request } = await createTestApp({ publicUrl: new URL('https://models.example.org') });
    expect((await request('/healthz')).headers.get('strict-transport-security')).toBe('max-age=31536000');
  });

  it('has the same headers for HEAD, and no body', async () => {
    const { request } = await createTestApp();
    const [get, head] = [
      await request(ACTIVE, { headers: admin }),
      await request(ACTIVE, { method: 'HEAD', headers: admin }),
    ];
    expect([head.status, head.headers.get('etag'), await head.text()]).toEqual([200, get.headers.get('etag'), '']);
  });

  it('to a repeated read is given without a promise', async () => {
    const { request } = await createTestApp();
    await request(ACTIVE, { headers: admin }); // verifies the token
    expect(request(ACTIVE, { headers: admin })).toBeInstanceOf(Response);
  });

  it('that has no JSON is a problem document', async () => {
    const { services, lines } = await createTestApp();
    let deep: unknown = null;
    for (let i = 0; i < 200_000; i++) deep = [deep];
    const broken = route({
      method: 'GET',
      path: '/',
      permission: null,
      summary: 'Nested too deeply to serialize',
      answer: { status: 200, schema: z.unknown() },
      errors: [],
      handle: () => ({ json: deep }),
    });
    const app: HttpApp = new Hono();
    app.get('/', answering(broken, services));
    await problemOf(await app.request('/'), 500, 'internal');
    expect(lines).toMatchObject([{ level: 'error', status: 500, result: 'internal', err: expect.any(RangeError) }]);
  });
});

describe('while the log is read from its start', () => {
  it('nothing is answered from a part of the models', async () => {
    const { request } = await createTestApp({ complete: () => false });
    for (const path of [ACTIVE, VERSIONS, '/api/models', '/api/history', `${VERSIONS}/1.0.0`]) {
      await problemOf(await request(path, { headers: admin }), 503, 'log-unavailable');
    }
    const command = { method: 'POST', headers: { ...admin, ...json }, body: '{}' };
    await problemOf(await request(`${VERSIONS}/1.0.0/archive`, command), 503, 'log-unavailable');
    for (const path of ['/healthz', '/metrics', '/api/identity', '/api/keys']) {
      expect((await request(path, { headers: admin })).status, path).toBe(200);
    }
  });
});

describe('an ETag', () => {
  it.each([ACTIVE, `${ACTIVE}?at=2`, `${VERSIONS}/1.0.0/manifest`, '/api/models/fraud/events'])(
    'of %s is answered with 304, without a body',
    async (path) => {
      const { request } = await createTestApp();
      const headers = { ...admin, Accept: 'application/json' };
      const etag = (await request(path, { headers })).headers.get('etag')!;
      for (const sent of [etag, `W/${etag}`, `"x", ${etag}`, '*']) {
        const again = await request(path, { headers: { ...headers, 'If-None-Match': sent } });
        expect([again.status, await again.text(), again.headers.get('etag')]).toEqual([304, '', etag]);
      }
      expect((await request(path, { headers: { ...headers, 'If-None-Match': '"x"' } })).status).toBe(200);
    },
  );

  it('of a manifest is the digest of the bytes that are answered', async () => {
    const { request, readModel } = await createTestApp();
    const { manifest, manifest_digest } = readModel.model('fraud').version('1.0.0')!;
    const response = await request(`${VERSIONS}/1.0.0/manifest`, { headers: admin });
    expect(response.headers.get('etag')).toBe(`"${manifest_digest}"`);
    expect(await response.text()).toBe(canonicalManifest(manifest));
  });
});

describe('an address', () => {
  it('that is unknown is not found, with a credential or without', async () => {
    const { request } = await createTestApp();
    for (const headers of [{}, admin]) await problemOf(await request('/api/nothing', { headers }), 404, 'not-found');
  });

  it('under another method is refused with the methods that it takes', async () => {
    const { request } = await createTestApp();
    const response = await request('/api/keys', { method: 'PUT', headers: admin });
    expect((await problemOf(response, 405, 'method-not-allowed')).methods).toEqual(['POST', 'GET']);
    expect(response.headers.get('allow')).toBe('POST, GET');
  });

  it.each([
    ['a parameter twice', `${ACTIVE}?environment=production&environment=staging`, 'query', 'environment'],
    ['an invalid parameter', `${VERSIONS}?page_size=0`, 'query', 'page_size'],
    ['an invalid name', '/api/models/NO/versions', 'path', 'model'],
  ])('with %s is refused with the field', async (_, path, where, field) => {
    const { request } = await createTestApp();
    const problem = await problemOf(await request(path, { headers: admin }), 400, 'invalid-request');
    expect(problem).toMatchObject({ in: where, errors: [{ field }] });
  });
});

describe('pages of other origins', () => {
  const open = () => createTestApp({ corsOrigins: [ORIGIN] });

  it('may read answers and refusals if their origin is listed', async () => {
    const { request } = await open();
    for (const headers of [{ ...admin, Origin: ORIGIN }, { Origin: ORIGIN }]) {
      const response = await request(VERSIONS, { headers });
      expect(response.headers.get('access-control-allow-origin')).toBe(ORIGIN);
      expect(response.headers.get('vary')).toBe('Accept, Origin, Signalbox-Redirect');
    }
    const other = await request(VERSIONS, { headers: { ...admin, Origin: 'https://example.com' } });
    expect(other.headers.get('access-control-allow-origin')).toBeNull();
  });

  it('get the methods of an address from a preflight request', async () => {
    const { request } = await open();
    const ask = (origin: string) => request('/api/keys', { method: 'OPTIONS', headers: { Origin: origin } });
    const allowed = await ask(ORIGIN);
    expect([allowed.status, allowed.headers.get('access-control-allow-methods')]).toEqual([204, 'POST, GET']);
    expect(allowed.headers.get('access-control-allow-headers')).toContain('Registry-Min-Revision');
    await problemOf(await ask('https://example.com'), 405, 'method-not-allowed');
  });
});

describe('log lines', () => {
  it('show each refusal, and one in a hundred successful reads', async () => {
    const { request, lines } = await createTestApp();
    for (let i = 0; i < 101; i++) await request(ACTIVE, { headers: admin });
    expect(lines.map(({ status }) => status)).toEqual([200, 200]);
    for (let i = 0; i < 2; i++) await request(`${ACTIVE}?environment=staging`, { headers: admin });
    expect(lines.slice(2).map(({ result }) => result)).toEqual(['no-active-version', 'no-active-version']);
  });

  it('name the caller, the model, the version and the type of event', async () => {
    const { request, lines } = await createTestApp();
    const headers = { ...admin, ...json, 'X-Request-Id': 'r-1' };
    await request(`${VERSIONS}/1.0.0/archive`, { method: 'POST', headers, body: '{}' });
    const written = { actor: 'ana', model: 'fraud', version: '1.0.0', event_type: 'version.archived' };
    expect(lines).toMatchObject([
      { level: 'error', request_id: 'r-1', status: 503, result: 'log-unavailable', ...written },
    ]);
  });
});
