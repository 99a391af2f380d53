import { SignJWT } from 'jose';
import { describe, expect, it } from 'vitest';
import { readSecret } from '../../src/access/secret.ts';
import { startProgram } from '../support/program.ts';
import {
  emptyProgram,
  ok,
  problemOf,
  publish,
  send,
  sha256,
  shared,
  until,
  versionForm,
  wholeHistory,
} from './support.ts';

const BYTES = 'The quick brown fox jumps over the lazy dog';
const DIGEST = sha256(BYTES);
const VERSIONS = '/api/models/default/versions';

const started = shared(async (ends) => {
  const program = await emptyProgram(ends);
  for (let i = 0; i < 7; i++) await publish(program, `1.${i}.0`, { 'fox.txt': BYTES, 'n.txt': `${i}` });
  await ok(program, 'POST', `${VERSIONS}/1.0.0/activate`, { environment: 'staging', reason: 'first' });
  return { program, ends };
});
const program = () => started().program;

describe('every answer', () => {
  it('repeats a plain request id and replaces any other', async () => {
    const given = await program().ask('GET', VERSIONS, undefined, { 'X-Request-Id': 'pipeline-7:42' });
    expect(given.headers.get('x-request-id')).toBe('pipeline-7:42');
    for (const strange of ['a b', 'x'.repeat(200), '<script>']) {
      const made = await program().ask('GET', VERSIONS, undefined, { 'X-Request-Id': strange });
      expect(made.headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/);
    }
    const refused = await fetch(`${program().url}/api/nothing`, { headers: { 'X-Request-Id': 'r-1' } });
    expect((await problemOf(refused, 404, 'not-found')).request_id).toBe('r-1');
  });

  it('has the revision of the log, which includes the event of a command', async () => {
    const before = (await program().ask('GET', VERSIONS)).headers.get('registry-revision');
    const changed = await program().ask('PATCH', `${VERSIONS}/1.6.0/notes`, { notes: `${Math.random()}` });
    const after = changed.headers.get('registry-revision');
    expect(before).toBeTruthy();
    expect(after).not.toBe(before);
    expect((await fetch(`${program().url}/healthz`)).headers.get('registry-revision')).toBe(after);
  });

  it('keeps a request id in the event', async () => {
    const headers = { 'X-Request-Id': 'notes-9' };
    await program().ask('PATCH', `${VERSIONS}/1.6.0/notes`, { notes: 'nine' }, headers);
    const { events } = await ok(program(), 'GET', '/api/models/default/history?page_size=1');
    expect(events[0]).toMatchObject({ request_id: 'notes-9', actor: 'tester', type: 'notes.changed' });
  });
});

describe('shapes', () => {
  const version = {
    model: 'default',
    version: '1.0.0',
    status: 'ready',
    active_flag: true,
    active_in: ['staging'],
    notes: '',
    published_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
    published_by: 'tester',
    revision: 1,
    manifest_digest: expect.stringMatching(/^sha256:[0-9a-f]{64}$/),
    manifest: {
      flavor: 'custom',
      artifacts: [
        { path: 'fox.txt', digest: DIGEST, size: BYTES.length },
        { path: 'n.txt', digest: sha256('0'), size: 1 },
      ],
      requires: {},
      metrics: {},
      params: {},
      tags: {},
      lineage: {},
      signature: null,
    },
  };

  it('has each documented field of a version', async () => {
    expect(await ok(program(), 'GET', `${VERSIONS}/1.0.0`)).toEqual(version);
  });

  it('has the active version with the actor, time and reason', async () => {
    const activated = { at: expect.any(String), by: 'tester', reason: 'first', revision: 8 };
    expect(await ok(program(), 'GET', `${VERSIONS}/active?environment=staging`)).toEqual({
      ...version,
      environment: 'staging',
      activated,
    });
  });

  it('serves the manifest whose hash is the manifest_digest', async () => {
    const { manifest_digest } = await ok(program(), 'GET', `${VERSIONS}/1.0.0`);
    const response = await program().ask('GET', `${VERSIONS}/1.0.0/manifest`);
    expect(sha256(await response.text())).toBe(manifest_digest);
    expect(response.headers.get('etag')).toBe(`"${manifest_digest}"`);
  });

  it('has events with their data', async () => {
    const { events } = await ok(program(), 'GET', '/api/models/default/history?type=version.activated');
    expect(events[0]).toEqual({
      revision: 8,
      type: 'version.activated',
      time: expect.any(String),
      actor: 'tester',
      request_id: expect.any(String),
      data: {
        environment: 'staging',
        version: '1.0.0',
        previous: null,
        reason: 'first',
        runtime_checked: false,
        active: {
          production: null,
          staging: { version: '1.0.0', manifest_digest: expect.any(String), published_revision: 1 },
          dev: null,
        },
      },
    });
  });

  it('treats two spellings of a package in metadata as one, and can still follow the model', async () => {
    const said = { requires: { packages: { scikit_learn: '>=1.5' } }, sklearn_version: '1.4.2' };
    const form = versionForm({ version: '1.0.0' }, { 'metadata.json': JSON.stringify(said) });
    const published = await send(program(), 'POST', '/api/models/spelled/versions', form);
    expect([published.status, await published.json()]).toMatchObject([201, { manifest: { requires: said.requires } }]);
    await ok(program(), 'PATCH', '/api/models/spelled/versions/1.0.0/notes', { notes: 'followed' });
  });

  it('has the declared runtime, and null before the first declaration', async () => {
    const path = '/api/models/default/environments/dev/runtime';
    expect(await ok(program(), 'GET', path)).toMatchObject({ environment: 'dev', runtime: null });
    const declared = await ok(program(), 'PUT', path, { python: '3.11.7' });
    expect(await ok(program(), 'GET', path)).toEqual(declared);
    await ok(program(), 'PUT', path, {});
    expect(await ok(program(), 'GET', '/api/registry/environments/dev/runtime')).toMatchObject({ runtime: {} });
    await problemOf(await program().ask('GET', path.replace('dev', 'moon')), 404, 'unknown-environment');
    await problemOf(await program().ask('GET', path.replace('default', 'moon')), 404, 'unknown-model');
  });

  it('answers a publish with 201 and its Location, and the same publish again with 200', async () => {
    const form = () => versionForm({ version: '0.9.0' }, { 'fox.txt': BYTES });
    const first = await send(program(), 'POST', VERSIONS, form());
    expect([first.status, first.headers.get('location')]).toEqual([201, `${VERSIONS}/0.9.0`]);
    const again = await send(program(), 'POST', VERSIONS, form());
    expect(again.status).toBe(200);
    expect(await again.json()).toEqual(await first.json());
    const other = await send(program(), 'POST', VERSIONS, versionForm({ version: '0.9.0' }, { 'fox.txt': 'other' }));
    await problemOf(other, 409, 'version-exists');
  });
});

describe('conditional and partial reads', () => {
  const file = `${VERSIONS}/1.0.0/files/fox.txt`;
  const get = (path: string, headers: Record<string, string> = {}, method = 'GET') =>
    program().ask(method, path, undefined, headers);

  it('answers 304 until the model changes', async () => {
    const active = `${VERSIONS}/active?environment=staging`;
    const etag = (await get(active)).headers.get('etag')!;
    expect(etag).toMatch(/^"[^"]+"$/);
    for (const sent of [etag, `"x", ${etag}`, `W/${etag}`, '*']) {
      const response = await get(active, { 'If-None-Match': sent });
      expect([response.status, await response.text()]).toEqual([304, '']);
      expect(response.headers.get('etag')).toBe(etag);
      expect(response.headers.get('x-request-id')).toBeTruthy();
    }
    expect((await get(active, { 'If-None-Match': '"x"' })).status).toBe(200);
    await ok(program(), 'POST', `${VERSIONS}/1.1.0/activate`, { environment: 'staging' });
    expect((await get(active, { 'If-None-Match': etag })).status).toBe(200);
    await ok(program(), 'POST', '/api/models/default/rollback', { environment: 'staging', reason: 'back' });
  });

  it('sends bytes with their digest and as an attachment', async () => {
    const response = await get(file);
    const hash = Buffer.from(DIGEST.slice(7), 'hex').toString('base64');
    expect(await response.text()).toBe(BYTES);
    expect(Object.fromEntries(response.headers)).toMatchObject({
      etag: `"${DIGEST}"`,
      'repr-digest': `sha-256=:${hash}:`,
      'accept-ranges': 'bytes',
      'content-length': String(BYTES.length),
      'content-type': 'application/octet-stream',
      'content-disposition': 'attachment',
      'x-content-type-options': 'nosniff',
    });
    expect((await get(file, { 'If-None-Match': `"${DIGEST}"` })).status).toBe(304);
  });

  it.each([
    ['bytes=0-2', 'The', 'bytes 0-2/43'],
    ['bytes=40-', 'dog', 'bytes 40-42/43'],
    ['bytes=-3', 'dog', 'bytes 40-42/43'],
    ['bytes=-999', BYTES, 'bytes 0-42/43'],
    ['bytes=40-999', 'dog', 'bytes 40-42/43'],
  ])('answers the range %s', async (Range, text, contentRange) => {
    const response = await get(file, { Range });
    expect([response.status, await response.text()]).toEqual([206, text]);
    expect(response.headers.get('content-range')).toBe(contentRange);
    expect(response.headers.get('content-length')).toBe(String(text.length));
    expect(response.headers.get('repr-digest')).toBeTruthy();
  });

  it.each(['bytes=2-1', 'bytes=0-1,4-5', 'lines=1-2', 'bytes=x'])('answers %s with the whole file', async (Range) => {
    const response = await get(file, { Range });
    expect([response.status, await response.text()]).toEqual([200, BYTES]);
  });

  it.each(['bytes=43-', 'bytes=99-100', 'bytes=-0'])('refuses %s, which is outside the file', async (Range) => {
    const response = await get(file, { Range });
    expect(response.headers.get('content-range')).toBe('bytes */43');
    await problemOf(response, 416, 'range-not-satisfiable');
  });

  it('answers a range only if If-Range matches', async () => {
    const same = await get(file, { Range: 'bytes=0-2', 'If-Range': `"${DIGEST}"` });
    expect([same.status, await same.text()]).toEqual([206, 'The']);
    const other = await get(file, { Range: 'bytes=0-2', 'If-Range': '"other"' });
    expect([other.status, await other.text()]).toEqual([200, BYTES]);
  });

  it('shows by HEAD whether a blob exists', async () => {
    const there = await get(`/api/blobs/${DIGEST}`, {}, 'HEAD');
    expect([there.status, await there.text(), there.headers.get('content-length')]).toEqual([200, '', '43']);
    const none = await get(`/api/blobs/${sha256('none')}`, {}, 'HEAD');
    expect([none.status, await none.text()]).toEqual([404, '']);
    await problemOf(await get(`/api/blobs/${sha256('none')}`), 404, 'unknown-blob');
  });

  it('serves an empty file', async () => {
    await publish(program(), '0.0.1', { 'empty.txt': '' });
    const response = await get(`${VERSIONS}/0.0.1/files/empty.txt`);
    expect([response.status, await response.text()]).toEqual([200, '']);
    await problemOf(
      await get(`${VERSIONS}/0.0.1/files/empty.txt`, { Range: 'bytes=0-' }),
      416,
      'range-not-satisfiable',
    );
  });
});

describe('listings', () => {
  async function* pages(path: string) {
    let token: string | null = null;
    do {
      const page = await ok(program(), 'GET', token ? `${path}&page_token=${token}` : path);
      yield page;
      token = page.next_page_token;
    } while (token);
  }

  it('page through versions and history, newest first, each once', async () => {
    for (const [path, key] of [
      [`${VERSIONS}?page_size=3`, 'versions'],
      ['/api/models/default/history?page_size=4', 'events'],
    ] as const) {
      const whole = await ok(program(), 'GET', path.replace(/\?.*/, '?page_size=1000'));
      const found: { revision: number }[] = [];
      for await (const page of pages(path)) found.push(...page[key]);
      expect(found).toEqual(whole[key]);
      expect(found.map(({ revision }) => revision)).toEqual(
        found.map(({ revision }) => revision).toSorted((a, b) => b - a),
      );
      expect(whole.next_page_token).toBe(null);
    }
  });

  it('do not repeat an entry if a new one is added between two pages', async () => {
    const first = await ok(program(), 'GET', '/api/models/default/history?page_size=2');
    await ok(program(), 'PATCH', `${VERSIONS}/1.5.0/notes`, { notes: `${Math.random()}` });
    const second = await ok(
      program(),
      'GET',
      `/api/models/default/history?page_size=2&page_token=${first.next_page_token}`,
    );
    expect(second.events[0].revision).toBe(first.events[1].revision - 1);
  });

  it('refuse a token that is invalid, altered, or of another listing', async () => {
    const { next_page_token: token } = await ok(program(), 'GET', `${VERSIONS}?page_size=2&status=ready`);
    const refuse = async (path: string) => problemOf(await program().ask('GET', path), 400, 'invalid-request');
    await refuse(`${VERSIONS}?page_size=2&page_token=${token}`); // without the filter
    await refuse(`${VERSIONS}?page_size=2&status=archived&page_token=${token}`);
    await refuse(`/api/models/default/history?page_token=${token}`);
    await refuse(`/api/models?page_token=${token}`);
    await refuse(`${VERSIONS}?status=ready&page_token=${token.slice(0, -3)}`);
    await refuse(`${VERSIONS}?status=ready&page_token=${token.replace(/^./, (c: string) => (c === 'W' ? 'X' : 'W'))}`);
    await refuse(`${VERSIONS}?status=ready&page_token=eyJwYWdlIjoyfQ`);
    await refuse(`${VERSIONS}?status=ready&page_token=%00%ff`);
    await ok(program(), 'GET', `${VERSIONS}?page_size=5&status=ready&page_token=${token}`); // the size may change
  });

  it.each(['page_size=0', 'page_size=1001', 'page_size=x', 'page_size=1.5', 'active_flag=perhaps', 'status=gone'])(
    'refuses %s',
    async (query) => {
      const problem = await problemOf(await program().ask('GET', `${VERSIONS}?${query}`), 400, 'invalid-request');
      expect(problem).toMatchObject({ in: 'query', errors: [{ field: query.split('=')[0] }] });
    },
  );

  it('filter versions', async () => {
    await publish(program(), '0.5.0');
    await ok(program(), 'POST', `${VERSIONS}/0.5.0/archive`);
    const names = async (query: string) =>
      (await ok(program(), 'GET', `${VERSIONS}?${query}`)).versions.map(({ version }: { version: string }) => version);
    expect(await names('status=archived')).toEqual(['0.5.0']);
    expect(await names('status=ready')).not.toContain('0.5.0');
    expect(await names('active_flag=true')).toEqual(['1.0.0']);
    expect(await names('active_flag=false')).not.toContain('1.0.0');
    expect(await names('active_flag=false')).toContain('0.5.0');
    expect(await names('environment=staging')).toEqual(['1.0.0']);
    expect(await names('active_flag=true&environment=production')).toEqual([]);
  });

  it('filter the history', async () => {
    const events = async (query: string) => (await ok(program(), 'GET', `/api/models/default/history?${query}`)).events;
    for (const { type } of await events('type=version.archived')) expect(type).toBe('version.archived');
    for (const { data } of await events('environment=staging')) expect(data.environment).toBe('staging');
    const named = await events('version=1.1.0');
    expect(named.map(({ type }: { type: string }) => type)).toEqual([
      'version.rolled_back',
      'version.activated',
      'version.published',
    ]);
    await problemOf(await program().ask('GET', '/api/models/default/history?type=nothing'), 400, 'invalid-request');
  });
});

describe('Idempotency-Key', () => {
  const activate = (version: string, key: string, headers: Record<string, string> = {}) =>
    program().ask(
      'POST',
      `/api/models/keys/versions/${version}/activate`,
      { environment: 'dev' },
      { 'Idempotency-Key': key, ...headers },
    );

  it('repeats the first outcome, also after a restart, refuses another body, and is separate for each actor', async () => {
    await publish(program(), '1.0.0', { 'a.txt': 'a' }, 'keys');
    await publish(program(), '2.0.0', { 'a.txt': 'b' }, 'keys');
    const first = await activate('1.0.0', 'k1');
    expect(first.status).toBe(200);
    const { revision } = (await first.json()) as { revision: number };
    expect((await activate('2.0.0', 'k2')).status).toBe(200);

    const again = await activate('1.0.0', 'k1');
    expect([again.status, (await again.json()) as object]).toMatchObject([
      200,
      { revision, active: { version: '1.0.0' } },
    ]);
    expect((await activate('1.0.0', '"k1"')).status).toBe(200); // the draft's quoted form is the same key
    await problemOf(await activate('2.0.0', 'k1'), 422, 'idempotency-key-reused');

    const other = { Authorization: `Bearer ${await program().token('admin', 'somebody else')}` };
    const theirs = await activate('1.0.0', 'k1', other);
    expect([theirs.status, (await theirs.json()) as object]).toMatchObject([200, { previous: { version: '2.0.0' } }]);

    const { program: old, ends } = started();
    await old.stop();
    started().program = await startProgram(old.volume, { REGISTRY_DISCOVERY: 'off' }, ends);
    const afterwards = await activate('1.0.0', 'k1');
    expect([afterwards.status, (await afterwards.json()) as object]).toMatchObject([200, { revision }]);
    await problemOf(await activate('2.0.0', 'k1'), 422, 'idempotency-key-reused');
    expect(await wholeHistory(program(), 'keys')).toHaveLength(5);
  });

  it('stores one event for many concurrent requests', async () => {
    const notes = () =>
      program().ask('PATCH', `${VERSIONS}/1.4.0/notes`, { notes: 'at once' }, { 'Idempotency-Key': 'many' });
    const before = (await wholeHistory(program())).length;
    const answers = await Promise.all(Array.from({ length: 10 }, notes));
    expect(answers.map(({ status }) => status)).toEqual(Array(10).fill(200));
    expect((await wholeHistory(program())).length).toBe(before + 1);
  });

  it('does not apply to refusals and dry runs', async () => {
    const key = { 'Idempotency-Key': 'later' };
    const path = '/api/models/keys/versions/3.0.0/activate';
    await problemOf(await program().ask('POST', path, { environment: 'dev' }, key), 404, 'unknown-version');
    await publish(program(), '3.0.0', { 'a.txt': 'c' }, 'keys');
    const rehearsed = await program().ask('POST', path, { environment: 'dev', dry_run: true }, key);
    expect((await rehearsed.json()) as object).toMatchObject({ dry_run: true, active: { version: '3.0.0' } });
    expect((await program().ask('POST', path, { environment: 'dev' }, key)).status).toBe(200);
  });

  it.each(['a b', 'x'.repeat(256), ''])('refuses the key %j', async (key) => {
    const refused = await program().ask('PATCH', `${VERSIONS}/1.4.0/notes`, { notes: 'k' }, { 'Idempotency-Key': key });
    await problemOf(refused, 400, 'invalid-request');
  });
});

describe('moves', () => {
  it('are refused if another version is active than expected, with the event that changed it', async () => {
    const path = `${VERSIONS}/1.3.0/activate`;
    const refused = await program().ask('POST', path, { environment: 'staging', expected_active: '1.2.0' });
    expect(await problemOf(refused, 409, 'active-changed')).toMatchObject({
      environment: 'staging',
      active: '1.0.0',
      expected: '1.2.0',
      changed_by: { by: 'tester', reason: 'back', revision: expect.any(Number) },
    });
    const none = await program().ask('POST', path, { environment: 'staging', expected_active: null });
    expect(await problemOf(none, 409, 'active-changed')).toMatchObject({ expected: null });
    const rollback = { environment: 'staging', reason: 'r', expected_active: '9.9.9' };
    await problemOf(await program().ask('POST', '/api/models/default/rollback', rollback), 409, 'active-changed');
  });

  it('change nothing in a dry run, and get the same answer', async () => {
    const before = await ok(program(), 'GET', '/api/models');
    const body = { environment: 'dev', expected_active: null, dry_run: true };
    expect(await ok(program(), 'POST', `${VERSIONS}/1.3.0/activate`, body)).toMatchObject({
      environment: 'dev',
      active: { version: '1.3.0' },
      previous: null,
      dry_run: true,
    });
    expect(await ok(program(), 'GET', '/api/models')).toEqual(before);
    const wrong = { ...body, expected_active: '1.0.0' };
    await problemOf(await program().ask('POST', `${VERSIONS}/1.3.0/activate`, wrong), 409, 'active-changed');
  });

  it('list every rule that a dry run checked, also if one of them refuses it', async () => {
    const path = `${VERSIONS}/1.3.0/activate`;
    const passed = await ok(program(), 'POST', path, { environment: 'dev', dry_run: true });
    const rules = ['expected-active', 'not-active', 'not-archived', 'bytes-present', 'runtime', 'activation-limit'];
    expect(passed.checks).toEqual(rules.map((rule) => ({ rule, ok: true, detail: expect.any(String) })));
    const wrong = { environment: 'dev', expected_active: '1.0.0', dry_run: true };
    const refused = await problemOf(await program().ask('POST', path, wrong), 409, 'active-changed');
    expect(refused.checks).toEqual(rules.map((rule, i) => ({ rule, ok: i > 0, detail: expect.any(String) })));
    const stored = { environment: 'dev', expected_active: '1.0.0' };
    expect(await problemOf(await program().ask('POST', path, stored), 409, 'active-changed')).not.toHaveProperty(
      'checks',
    );
  });

  it('are refused if the version is already active', async () => {
    const refused = await program().ask('POST', `${VERSIONS}/1.0.0/activate`, { environment: 'staging' });
    expect(await problemOf(refused, 409, 'already-active')).toMatchObject({ active: '1.0.0' });
  });

  it('cannot roll back an environment that was never moved', async () => {
    const refused = await program().ask('POST', '/api/models/default/rollback', { environment: 'dev', reason: 'r' });
    await problemOf(refused, 409, 'nothing-to-roll-back');
  });
});

describe('limits', () => {
  const limited = shared((ends) => emptyProgram(ends, { REGISTRY_ACTIVATION_LIMIT: '2' }));

  it('refuse more activations in a minute, state when the next is possible, and leave out force and rollbacks', async () => {
    for (const version of ['1.0.0', '2.0.0', '3.0.0']) await publish(limited(), version);
    const activate = (version: string, more = {}) => limited().ask('POST', `${VERSIONS}/${version}/activate`, more);
    await activate('1.0.0');
    await activate('2.0.0');
    const refused = await activate('3.0.0');
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    await problemOf(refused, 429, 'too-many-activations');
    expect((await activate('3.0.0', { environment: 'dev' })).status).toBe(200);
    await ok(limited(), 'POST', '/api/models/default/rollback', { reason: 'exempt' });
    expect((await activate('3.0.0', { force: true })).status).toBe(200);
    const { events } = await ok(limited(), 'GET', '/api/models/default/history?page_size=1');
    expect(events[0].data).toMatchObject({ forced: true });
  });
});

describe('an unknown name', () => {
  it.each([
    ['/api/models/nothing/versions', 'unknown-model'],
    ['/api/models/nothing/history', 'unknown-model'],
    ['/api/models/nothing/versions/active', 'unknown-model'],
    [`${VERSIONS}/9.9.9`, 'unknown-version'],
    [`${VERSIONS}/9.9.9/manifest`, 'unknown-version'],
    [`${VERSIONS}/1.0.0/files/none.txt`, 'not-found'],
    [`${VERSIONS}/1.0.0/files/..%2f..%2fetc%2fpasswd`, 'not-found'],
    [`${VERSIONS}/active?environment=moon`, 'unknown-environment'],
    [`${VERSIONS}?environment=moon`, 'unknown-environment'],
    [`${VERSIONS}/active`, 'no-active-version'],
    ['/api/nothing', 'not-found'],
    ['/', 'not-found'],
  ])('in %s is answered with %s', async (path, code) => {
    await problemOf(await program().ask('GET', path), 404, code);
  });

  it('of an environment is answered with the names of all environments', async () => {
    const refused = await program().ask('POST', `${VERSIONS}/1.0.0/activate`, { environment: 'moon' });
    expect(await problemOf(refused, 404, 'unknown-environment')).toMatchObject({
      environments: ['production', 'staging', 'dev'],
    });
  });

  it.each(['v1.0.0', '1.0', '1.0.0+build', 'latest2', '01.0.0'])(
    'is refused if it is not a version: %s',
    async (version) => {
      await problemOf(await program().ask('GET', `${VERSIONS}/${version}`), 400, 'invalid-request');
    },
  );

  it.each(['Upper', '-x', 'a.b', '..%2f..', 'x'.repeat(64)])(
    'is refused if it is not the name of a model: %s',
    async (model) => {
      await problemOf(await program().ask('GET', `/api/models/${model}/versions`), 400, 'invalid-request');
    },
  );
});

interface Operation {
  'x-permission'?: string;
  security?: object[];
  parameters: { name: string; in: string; required: boolean; schema: object }[];
  requestBody?: { content: Record<string, { schema?: object }> };
  responses: Record<string, { description: string; content?: Record<string, { schema: object }> }>;
}

interface OpenApi {
  openapi: string;
  info: { title: string; version: string };
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, object>; securitySchemes: Record<string, object> };
}

async function openApi(): Promise<OpenApi> {
  const response = await fetch(`${program().url}/openapi.json`);
  expect(response.headers.get('content-type')).toBe('application/json');
  return (await response.json()) as OpenApi;
}

const EXAMPLES: Record<string, string> = {
  model: 'default',
  version: '1.0.0',
  environment: 'dev',
  digest: DIGEST,
  path: 'fox.txt',
  instance: 'scorer-1',
};

/** Returns each operation of the document, with a path that exists. */
async function operations() {
  const { paths } = await openApi();
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({
      path,
      method: method.toUpperCase(),
      operation,
      url: program().url + path.replace(/\{(\w+)\}/g, (_, name) => EXAMPLES[name]!),
    })),
  );
}

const ROUTES = [
  'GET /api/models/{model}/versions',
  'POST /api/models/{model}/versions',
  'GET /api/models/{model}/versions/active',
  'GET /api/models/{model}/versions/latest',
  'GET /api/models/{model}/versions/{version}',
  'GET /api/models/{model}/versions/{version}/manifest',
  'GET /api/models/{model}/versions/{version}/files/{path}',
  'POST /api/models/{model}/versions/{version}/activate',
  'POST /api/models/{model}/versions/{version}/archive',
  'POST /api/models/{model}/versions/{version}/restore',
  'PATCH /api/models/{model}/versions/{version}/notes',
  'POST /api/models/{model}/rollback',
  'POST /api/models/{model}/deactivate',
  'GET /api/models/{model}/environments/{environment}/runtime',
  'PUT /api/models/{model}/environments/{environment}/runtime',
  'GET /api/models/{model}/history',
  'GET /api/models/{model}/loaders',
  'PUT /api/models/{model}/loaders/{instance}',
];

describe('the OpenAPI document', () => {
  it('has every route and its alias', async () => {
    const there = (await operations()).map(({ method, path }) => `${method} ${path}`);
    const aliases = ROUTES.map((route) =>
      route
        .replace('/api/models/{model}/versions', '/api/registry/models')
        .replace('/api/models/{model}', '/api/registry'),
    );
    const others = ['GET /api/blobs/{digest}', 'PUT /api/blobs/{digest}', 'GET /api/models', 'GET /models'];
    const open = ['GET /models/latest', 'GET /healthz', 'GET /readyz'];
    expect(there).toEqual(expect.arrayContaining([...ROUTES, ...aliases, ...others, ...open]));
  });

  it('is a valid OpenAPI 3.1 document', async () => {
    const document = await openApi();
    expect(document.openapi).toMatch(/^3\.1\.\d+$/);
    expect(document.info).toMatchObject({ title: expect.any(String), version: expect.any(String) });
    const text = JSON.stringify(document);
    for (const [, name] of text.matchAll(/"\$ref":"#\/components\/schemas\/([^"]+)"/g)) {
      expect(Object.keys(document.components.schemas)).toContain(name);
    }
    for (const [, ref] of text.matchAll(/"\$ref":"([^"]+)"/g)) expect(ref).toMatch(/^#\/components\/schemas\//);
    expect(text).not.toMatch(/"(\$schema|\$defs|nullable)":/);
    for (const { path, method, operation } of await operations()) {
      const where = `${method} ${path}`;
      const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
      const parameters = operation.parameters.filter(({ in: place }) => place === 'path');
      expect(parameters.map(({ name }) => name).sort(), where).toEqual(inPath.sort());
      expect(
        parameters.every(({ required }) => required),
        where,
      ).toBe(true);
      expect(
        operation.parameters.every(({ schema }) => typeof schema === 'object'),
        where,
      ).toBe(true);
      const statuses = Object.keys(operation.responses);
      expect(
        statuses.filter((status) => /^2\d\d$/.test(status)),
        where,
      ).toHaveLength(1);
      expect(
        statuses.every((status) => /^[1-5]\d\d$/.test(status)),
        where,
      ).toBe(true);
      for (const { description } of Object.values(operation.responses)) expect(description).toBeTruthy();
      if (['POST', 'PUT', 'PATCH'].includes(method)) expect(operation.requestBody?.content, where).toBeTruthy();
    }
  });

  it('states the permissions that apply: without a token nothing is allowed, and the role user may only read', async () => {
    const user = { Authorization: `Bearer ${await program().token('user')}` };
    for (const { url, method, operation, path } of await operations()) {
      const where = `${method} ${path}`;
      if (operation['x-permission'] === undefined) {
        expect((await fetch(url, { method })).status, where).toBeLessThan(400);
        expect(operation.security, where).toEqual([]);
        continue;
      }
      const anonymous = await fetch(url, { method });
      expect(anonymous.headers.get('www-authenticate'), where).toBe('Bearer');
      await problemOf(anonymous, 401, 'unauthenticated');
      const asUser = await fetch(url, { method, headers: user });
      if (['read', 'identified'].includes(operation['x-permission']))
        expect([401, 403], where).not.toContain(asUser.status);
      else await problemOf(asUser, 403, 'forbidden');
    }
  });

  it('has the intended permission for every route', async () => {
    const permissions = new Set<string>();
    for (const { method, path, operation } of await operations()) {
      permissions.add(`${operation['x-permission']} ${method} ${path}`);
    }
    for (const route of [
      'publish POST /api/registry/models',
      'publish PUT /api/blobs/{digest}',
      'activate POST /api/registry/models/{version}/activate',
      'activate POST /api/registry/rollback',
      'activate POST /api/registry/deactivate',
      'operate PATCH /api/registry/models/{version}/notes',
      'operate POST /api/registry/models/{version}/archive',
      'operate POST /api/registry/models/{version}/restore',
      'read GET /api/registry/environments/{environment}/runtime',
      'operate PUT /api/registry/environments/{environment}/runtime',
      'report PUT /api/registry/loaders/{instance}',
      'read GET /api/registry/loaders',
      'gateway GET /models',
      'gateway GET /models/latest',
      'read GET /api/models',
    ]) {
      expect(permissions).toContain(route);
    }
  });

  it('has each method of a path, as the refusal of another method does', async () => {
    const methods = new Map<string, string[]>();
    for (const { url, method } of await operations()) methods.set(url, [...(methods.get(url) ?? []), method]);
    for (const [url, taken] of methods) {
      const response = await fetch(url, { method: 'OPTIONS' });
      expect(response.headers.get('allow')?.split(', ').sort(), url).toEqual(taken.sort());
      await problemOf(response, 405, 'method-not-allowed');
    }
  });
});

describe('/', () => {
  const ask = (method: string, headers: Record<string, string> = {}) =>
    fetch(`${program().url}/`, { method, headers, redirect: 'manual' });

  it('redirects browsers to the documentation', async () => {
    const response = await ask('GET', { Accept: 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8' });
    expect([response.status, response.headers.get('location')]).toEqual([302, '/docs']);
  });

  it('is not found for programs', async () => {
    await problemOf(await ask('GET'), 404, 'not-found');
    await problemOf(await ask('GET', { Accept: '*/*' }), 404, 'not-found');
    await problemOf(await ask('GET', { Accept: 'application/json' }), 404, 'not-found');
    await problemOf(await ask('POST', { Accept: 'text/html' }), 404, 'not-found');
  });
});

describe('/docs', () => {
  it('is a page that loads nothing and runs no scripts', async () => {
    const response = await fetch(`${program().url}/docs`);
    const page = await response.text();
    expect(response.headers.get('content-type')).toMatch(/^text\/html/);
    expect(response.headers.get('content-security-policy')).toContain("default-src 'none'");
    expect(page).not.toMatch(/<script|<link|<img|<iframe|@import|url\(|src=/i);
    for (const [, target] of page.matchAll(/href="([^"]*)"/g)) expect(target).toMatch(/^[/#](?!\/)/);
    for (const route of ROUTES) expect(page).toContain(route.split(' ')[1]);
  });
});

describe('tokens', () => {
  const ask = (token: string) =>
    fetch(`${program().url}/api/models`, { headers: { Authorization: `Bearer ${token}` } });
  const secret = async () => (await readSecret(program().volume))!;
  const token = async (header: { alg: string }, claims: object, key?: Uint8Array) =>
    new SignJWT({ sub: 'ana', role: 'admin', ...claims }).setProtectedHeader(header).sign(key ?? (await secret()));
  const soon = () => Math.floor(Date.now() / 1000) + 60;

  it('are accepted if valid', async () => {
    expect((await ask(await token({ alg: 'HS256' }, { exp: soon() }))).status).toBe(200);
  });

  it('are refused without a signature, by another algorithm or secret, expired, not yet valid or without expiry', async () => {
    const unsigned = [
      { alg: 'none', typ: 'JWT' },
      { sub: 'ana', role: 'admin', exp: soon() },
    ]
      .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
      .join('.');
    const good = await token({ alg: 'HS256' }, { exp: soon() });
    const [head, , signature] = good.split('.');
    const claims = Buffer.from(JSON.stringify({ sub: 'eve', role: 'admin', exp: soon() })).toString('base64url');
    const refused = {
      none: `${unsigned}.`,
      noneWithSignature: `${unsigned}.${signature}`,
      hs384: await token({ alg: 'HS384' }, { exp: soon() }, Buffer.concat([await secret(), await secret()])),
      foreign: await token({ alg: 'HS256' }, { exp: soon() }, Buffer.alloc(32, 7)),
      expired: await token({ alg: 'HS256' }, { exp: soon() - 600 }),
      forEver: await token({ alg: 'HS256' }, {}),
      early: await token({ alg: 'HS256' }, { exp: soon(), nbf: soon() }),
      altered: `${head}.${claims}.${signature}`,
      nobody: await token({ alg: 'HS256' }, { exp: soon(), sub: '' }),
      rubbish: 'rubbish',
      dots: '..',
    };
    for (const [name, bad] of Object.entries(refused)) {
      const response = await ask(bad);
      expect(response.status, name).toBe(401);
      await problemOf(response, 401, 'unauthenticated');
    }
  });

  it('allow nothing with an unknown role', async () => {
    await problemOf(await ask(await token({ alg: 'HS256' }, { exp: soon(), role: 'root' })), 403, 'forbidden');
  });

  it('are accepted in the header only', async () => {
    const good = await token({ alg: 'HS256' }, { exp: soon() });
    expect((await fetch(`${program().url}/api/models?token=${good}&access_token=${good}`)).status).toBe(401);
    const basic = { headers: { Authorization: `Basic ${good}` } };
    expect((await fetch(`${program().url}/api/models`, basic)).status).toBe(401);
  });

  it('are refused when they expire, even if they were cached', async () => {
    // Clocks may differ by five seconds; this token has one of these seconds left.
    const short = await token({ alg: 'HS256' }, { exp: Math.floor(Date.now() / 1000) - 4 });
    await ask(short);
    await until(async () => (await ask(short)).status === 401);
  });
});
