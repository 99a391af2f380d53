import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { follow, serves, silent } from '../loader/support.ts';
import { startNats } from '../support/nats.ts';
import { type Program, startProgram } from '../support/program.ts';
import {
  artifactsOf,
  copySample,
  type HistoryEvent,
  ok,
  publish,
  send,
  sha256,
  shared,
  until,
  versionForm,
  volumeFolder,
} from './support.ts';

type Line = Record<string, unknown>;

function linesOf({ lines }: Program): Line[] {
  return lines.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line) as Line);
}

/** Returns the only log line of a request. */
async function lineOf(program: Program, request_id: string): Promise<Line> {
  const found = () => linesOf(program).filter((line) => line.request_id === request_id);
  await until(() => found().length > 0);
  expect(found()).toHaveLength(1);
  return found()[0]!;
}

const FILES = { 'a.txt': 'a' };
const BASE = '/api/models/fraud';

describe('every write path', () => {
  const started = shared(async (ends) => {
    const volume = await volumeFolder(ends);
    const file = join(volume, 'logs/history.log');
    const program = await startProgram(volume, { REGISTRY_DISCOVERY: 'off', REGISTRY_HISTORY_FILE: file }, ends);
    return { program, file };
  });

  const commands: [
    name: string,
    event_type: string,
    version: string | null,
    run: (program: Program, id: string) => Promise<Response>,
  ][] = [
    [
      'publish',
      'version.published',
      '1.0.0',
      (program, id) =>
        send(program, 'POST', `${BASE}/versions`, versionForm({ version: '1.0.0' }, FILES), { 'X-Request-Id': id }),
    ],
    [
      'publish',
      'version.published',
      '1.1.0',
      (program, id) => asking(program, id, 'POST', '/versions', { bump: 'minor', artifacts: artifactsOf(FILES) }),
    ],
    [
      'activate',
      'version.activated',
      '1.0.0',
      (program, id) => asking(program, id, 'POST', '/versions/1.0.0/activate', { reason: 'r' }),
    ],
    [
      'activate',
      'version.activated',
      '1.1.0',
      (program, id) => asking(program, id, 'POST', '/versions/1.1.0/activate', {}),
    ],
    [
      'rollback',
      'version.rolled_back',
      '1.0.0',
      (program, id) => asking(program, id, 'POST', '/rollback', { reason: 'r' }),
    ],
    [
      'deactivate',
      'version.deactivated',
      null,
      (program, id) => asking(program, id, 'POST', '/deactivate', { reason: 'r' }),
    ],
    [
      'notes',
      'notes.changed',
      '1.0.0',
      (program, id) => asking(program, id, 'PATCH', '/versions/1.0.0/notes', { notes: 'n' }),
    ],
    [
      'archive',
      'version.archived',
      '1.1.0',
      (program, id) => asking(program, id, 'POST', '/versions/1.1.0/archive', {}),
    ],
    [
      'restore',
      'version.restored',
      '1.1.0',
      (program, id) => asking(program, id, 'POST', '/versions/1.1.0/restore', {}),
    ],
    [
      'runtime',
      'runtime.declared',
      null,
      (program, id) => asking(program, id, 'PUT', '/environments/dev/runtime', { python: '3.11.7' }),
    ],
  ];

  it('reports each command with one request id in its log line, metric, event and, for a move, history line', async () => {
    const { program, file } = started();
    for (const [i, [command, event_type, version, run]] of commands.entries()) {
      const id = `write-${i}`;
      const before = await counted(program, command);
      const response = await run(program, id);
      expect(response.ok, await response.text()).toBe(true);
      expect(response.headers.get('x-request-id')).toBe(id);
      const line = await lineOf(program, id);
      expect(line).toMatchObject({
        event_type,
        model: 'fraud',
        actor: 'tester',
        result: 'ok',
        latency_ms: expect.any(Number),
      });
      expect(line.version ?? null).toBe(version);
      expect((await counted(program, command)) - before).toBe(1);
      const { events } = await ok(program, 'GET', `${BASE}/history?page_size=1`);
      const [event] = events as HistoryEvent[];
      expect(event).toMatchObject({ type: event_type, request_id: id, actor: 'tester', revision: line.revision });
      if (!('previous' in event!.data)) continue;
      await until(async () => (await historyLines(file)).at(-1)?.revision === event!.revision);
      const { environment, reason, previous } = event!.data;
      const expected = { event_type, request_id: id, actor: 'tester', version, environment, reason, previous };
      expect((await historyLines(file)).at(-1)).toMatchObject({ ...expected, model: 'fraud', time: event!.time });
    }
    expect((await historyLines(file)).map(({ before, after }) => [of(before), of(after)])).toEqual([
      [null, '1.0.0'],
      ['1.0.0', '1.1.0'],
      ['1.1.0', '1.0.0'],
      ['1.0.0', null],
    ]);
  });

  it('reports a refusal with its code', async () => {
    const { program } = started();
    const refused = await asking(program, 'refused-1', 'POST', '/versions/9.9.9/activate', {});
    expect(refused.status).toBe(404);
    expect(await lineOf(program, 'refused-1')).toMatchObject({
      event_type: 'version.activated',
      model: 'fraud',
      version: '9.9.9',
      actor: 'tester',
      result: 'unknown-version',
      latency_ms: expect.any(Number),
    });
  });

  it('reports uploads and keys', async () => {
    const { program } = started();
    const admin = { actor: 'tester', result: 'ok', latency_ms: expect.any(Number) };
    await send(program, 'PUT', `/api/blobs/${sha256('blob')}`, 'blob', { 'X-Request-Id': 'blob-1' });
    expect(await lineOf(program, 'blob-1')).toMatchObject({
      event_type: 'blob.stored',
      digest: sha256('blob'),
      ...admin,
    });
    const body = { name: 'scorer', reach: { allow: ['read'] } };
    const made = await program.ask('POST', '/api/keys', body, { 'X-Request-Id': 'key-1' });
    const { id } = (await made.json()) as { id: string };
    expect(await lineOf(program, 'key-1')).toMatchObject({
      event_type: 'key.created',
      key_id: id,
      name: 'scorer',
      ...admin,
    });
    await program.ask('DELETE', `/api/keys/${id}`, undefined, { 'X-Request-Id': 'key-2' });
    expect(await lineOf(program, 'key-2')).toMatchObject({ event_type: 'key.revoked', key_id: id, ...admin });
  });

  it('reports folders that are adopted from the volume and folders that are not', async () => {
    const volume = await volumeFolder();
    await copySample('1.0.0', join(volume, 'versions/1.0.0'));
    await copySample('1.0.0', join(volume, 'versions/not-a-version'));
    const program = await startProgram(volume);
    const lineOf = (msg: string) => linesOf(program).find((line) => line.msg === msg);
    await until(() => lineOf('adopted') !== undefined && lineOf('not adopted') !== undefined);
    const by = { event_type: 'version.published', actor: 'volume', model: 'default', latency_ms: expect.any(Number) };
    expect(lineOf('adopted')).toMatchObject({ ...by, version: '1.0.0', result: 'ok', revision: 1 });
    expect(lineOf('not adopted')).toMatchObject({ ...by, version: 'not-a-version', result: 'not-adopted' });
    const { events } = await ok(program, 'GET', '/api/models/default/history');
    expect(events).toMatchObject([{ request_id: lineOf('adopted')!.request_id }]);
  });

  function asking(program: Program, id: string, method: string, path: string, body: object): Promise<Response> {
    return program.ask(method, BASE + path, body, { 'X-Request-Id': id });
  }

  async function counted(program: Program, command: string): Promise<number> {
    const text = await (await fetch(`${program.url}/metrics`)).text();
    const name = `signalbox_commands_total{command="${command}",code="ok"} `;
    return Number(
      text
        .split('\n')
        .find((line) => line.startsWith(name))
        ?.slice(name.length) ?? 0,
    );
  }

  async function historyLines(file: string): Promise<Line[]> {
    const text = await readFile(file, 'utf8').catch(() => '');
    return text
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Line);
  }

  const of = (snapshot: unknown) => (snapshot as Record<string, string | null>).production;
});

it('uses one request id from the request to the loaders', async () => {
  const nats = await startNats(process.env.NATS_SERVER_BIN!);
  const program = await startProgram(await volumeFolder(), { NATS_URL: nats.url, REGISTRY_DISCOVERY: 'off' });
  await publish(program, '1.0.0', { 'model.txt': 'one' });
  const logged: Line[][] = [[], []];
  const loaders = await Promise.all(
    [undefined, nats.url].map((endpoint, i) =>
      follow(program, { endpoint, log: { ...silent, info: (line) => logged[i]!.push(line as Line) } }),
    ),
  );
  const path = '/api/models/default/versions/1.0.0/activate';
  const answer = await program.ask('POST', path, { reason: 'r' }, { 'X-Request-Id': 'pipeline-7' });
  const { revision } = (await answer.json()) as { revision: number };
  await Promise.all(loaders.map((loader) => serves(loader, '1.0.0')));
  for (const lines of logged) {
    expect(lines).toContainEqual({ version: '1.0.0', revision, request_id: 'pipeline-7' });
    expect(lines).toContainEqual(expect.objectContaining({ version: '1.0.0', revision, previous: null }));
  }
  const json = { Accept: 'application/json' };
  const snapshot = await program.ask('GET', '/api/models/default/events', undefined, json);
  const { active } = (await snapshot.json()) as { active: Record<string, Line> };
  expect(active.production).toMatchObject({ revision, request_id: 'pipeline-7' });
});

describe('secrets', () => {
  it('are in no log line, wherever they were sent', async () => {
    const nats = await startNats(process.env.NATS_SERVER_BIN!);
    const secret = (n: number) => `S3CRET${n}${'x'.repeat(37)}`;
    const jwt = `eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.${secret(1)}`;
    const key = `sbk_${'0'.repeat(12)}_${secret(2)}`;
    const program = await startProgram(await volumeFolder(), {
      NATS_URL: nats.url.replace('://', `://registry:${secret(3)}@`),
      REGISTRY_JWT_SECRET: secret(4),
      REGISTRY_DISCOVERY: 'off',
    });
    const get = (path: string, headers: Record<string, string>) => fetch(program.url + path, { headers });
    const answers = [
      ...[jwt, key, secret(5)].flatMap((credential) => [
        get('/api/models', { Authorization: `Bearer ${credential}` }),
        get('/api/models', { Authorization: `bearer  ${credential}` }),
        get('/api/models', { Authorization: credential }),
      ]),
      get('/api/models', { Authorization: `Basic ${btoa(`ana:${secret(6)}`)}` }),
      get('/api/models', { Cookie: `signalbox=${jwt}; __Host-signalbox_session=${jwt}` }),
      get('/models', { 'X-API-Key': key }),
      get(`/api/models?token=${jwt}&key=${key}&password=${secret(7)}`, {}),
      program.ask('DELETE', `/api/keys/${key}`),
      program.ask('GET', `/api/models/${jwt}/versions`),
      program.ask('POST', '/api/keys', { name: 'a', reach: { allow: ['read'] }, password: secret(8) }),
      program.ask('POST', '/api/keys', { name: key, reach: { allow: ['read'] } }),
      program.ask('PUT', '/api/models/fraud/loaders/a', { token: secret(9) }),
    ];
    for (const answer of await Promise.all(answers)) await answer.arrayBuffer();
    const made = await ok(program, 'POST', '/api/keys', { name: 'scorer', reach: { allow: ['read'] } });
    await get('/api/models', { Authorization: `Bearer ${made.key}` });
    await program.ask('DELETE', `/api/keys/${made.id}`);
    await nats.kill();
    await program.ask('POST', '/api/models/fraud/deactivate', { reason: 'r' });
    await program.stop();
    const logged = program.lines.join('\n');
    expect(linesOf(program).length).toBeGreaterThan(10);
    expect(logged).not.toMatch(/S3CRET/);
    expect(logged).not.toContain(made.key);
    expect(logged).not.toContain((await program.token()).split('.')[2]);
  });
});
