import { describe, expect, it } from 'vitest';
import { cli, type Program } from '../support/program.ts';
import { emptyProgram, type HistoryEvent, ok, problemOf, publish, shared, wholeHistory } from './support.ts';

const BASE = '/api/models/default';
const ENVIRONMENTS = ['production', 'staging', 'dev'];
const LATER = '2999-01-01T00:00:00Z';

/** A registry with a history, and its answers after each event. */
const started = shared(async (ends) => {
  const program = await emptyProgram(ends);
  const told = new Map<number, unknown>();
  const post = (path: string, body: object) => ok(program, 'POST', BASE + path, body);
  const steps: (() => Promise<unknown>)[] = [
    () => publish(program, '1.0.0'),
    () => publish(program, '1.1.0'),
    () => post('/versions/1.0.0/activate', { reason: 'first' }),
    () => ok(program, 'PATCH', `${BASE}/versions/1.0.0/notes`, { notes: 'good' }),
    () => post('/versions/1.1.0/activate', { environment: 'staging' }),
    () => post('/versions/1.1.0/activate', { reason: 'better recall' }),
    () => publish(program, '2.0.0', { 'a.txt': 'other' }, 'churn'),
    () => ok(program, 'PATCH', `${BASE}/versions/1.0.0/notes`, { notes: 'less good' }),
    () => post('/rollback', { reason: 'recall dropped' }),
    () => post('/deactivate', { environment: 'staging', reason: 'quiet' }),
    () => post('/versions/1.1.0/archive', {}),
    () => ok(program, 'PUT', `${BASE}/environments/dev/runtime`, { python: '3.11.7' }),
    () => publish(program, '1.2.0'),
    () => post('/versions/1.1.0/restore', {}),
    () => ok(program, 'PATCH', `${BASE}/versions/1.1.0/notes`, { notes: 'back' }),
  ];
  for (const [i, step] of steps.entries()) {
    await step();
    told.set(i + 1, await answers(program));
  }
  const events = await wholeHistory(program);
  return { program, told, events };
});

/** The answers of the routes that take `at`; without `at`, those of now. */
async function answers(program: Program, at?: string): Promise<unknown> {
  const moment = at === undefined ? '' : `&at=${encodeURIComponent(at)}`;
  const ask = async (path: string) => {
    const response = await program.ask('GET', `${BASE}/versions${path}${moment}`);
    const { request_id: _, detail: __, ...body } = JSON.parse(await response.text());
    return [response.status, body];
  };
  return {
    active: await Promise.all(ENVIRONMENTS.map((name) => ask(`/active?environment=${name}`))),
    list: await ask('?page_size=100'),
    active_list: await ask('?active_flag=true'),
    staging: await ask('?environment=staging'),
    archived: await ask('?status=archived'),
  };
}

describe('answers with `at`', () => {
  it('are the same as those given at that revision', async () => {
    const { told } = started();
    for (const [revision, then] of told)
      expect(await answers(started().program, `${revision}`), `at ${revision}`).toEqual(then);
  });

  it('are the same as those given at the time of each event', async () => {
    const { told, events } = started();
    for (const { time } of events) {
      // If several events have the same millisecond, the last one counts.
      const { revision } = events.findLast((event) => event.time <= time)!;
      expect(await answers(started().program, time), `at ${time}`).toEqual(told.get(revision));
    }
  });

  it('are those of now for a future moment, and empty before the first event', async () => {
    const { told, events } = started();
    const today = told.get(told.size);
    for (const at of [LATER, '999999']) expect(await answers(started().program, at)).toEqual(today);
    const before = new Date(Date.parse(events[0]!.time) - 1).toISOString();
    for (const at of ['0', before]) {
      const { list, active } = (await answers(started().program, at)) as {
        list: [number, object];
        active: [number, object][];
      };
      expect(list).toEqual([200, { versions: [], next_page_token: null }]);
      expect(active).toMatchObject(ENVIRONMENTS.map(() => [404, { code: 'no-active-version' }]));
    }
  });

  it('have a strong ETag and the current Registry-Revision, also under the alias', async () => {
    const { program, told } = started();
    const path = `${BASE}/versions/active?at=6`;
    const first = await program.ask('GET', path);
    const etag = first.headers.get('etag')!;
    expect(etag).toMatch(/^"[^"]+"$/);
    expect(first.headers.get('registry-revision')).toMatch(new RegExp(`-${told.size}$`));
    expect((await program.ask('GET', path, undefined, { 'If-None-Match': etag })).status).toBe(304);
    const other = await program.ask('GET', `${BASE}/versions/active?at=9`, undefined, { 'If-None-Match': etag });
    expect(other.status).toBe(200);
    const alias = await ok(program, 'GET', '/api/registry/models/active?at=6');
    expect(alias).toMatchObject({ version: '1.1.0', activated: { revision: 6, reason: 'better recall' } });
  });

  it('accept a time with an offset, percent-encoded or not', async () => {
    const { program } = started();
    for (const at of ['2999-01-01T00:00:00%2B01:00', '2999-01-01T00:00:00+01:00', '2999-01-01t00:00:00Z'.toUpperCase()])
      expect(await ok(program, 'GET', `${BASE}/versions/active?at=${at}`)).toMatchObject({ version: '1.0.0' });
  });

  it.each(['yesterday', '-1', '1.5', '2026-02-30T00:00:00Z', '2026-03-03', ''])('refuse %j', async (at) => {
    const { program } = started();
    for (const path of ['/versions/active', '/versions']) {
      const answer = await program.ask('GET', `${BASE}${path}?at=${encodeURIComponent(at)}`);
      expect((await problemOf(answer, 400, 'invalid-request')).detail).toContain('RFC 3339');
    }
  });

  it('are the same in pages', async () => {
    const { program } = started();
    const versions: string[] = [];
    let token = '';
    do {
      const page = await ok(program, 'GET', `${BASE}/versions?at=12&page_size=1${token && `&page_token=${token}`}`);
      versions.push(...page.versions.map(({ version }: { version: string }) => version));
      token = page.next_page_token ?? '';
    } while (token);
    expect(versions).toEqual(['1.1.0', '1.0.0']);
  });
});

describe('the history', () => {
  it('can be filtered by actor', async () => {
    const { program } = started();
    const token = await program.token('admin', 'ana');
    const headers = { Authorization: `Bearer ${token}` };
    await program.ask('PATCH', '/api/models/churn/versions/2.0.0/notes', { notes: 'by ana' }, headers);
    const by = async (actor: string) =>
      (await ok(program, 'GET', `/api/models/churn/history?actor=${actor}`)).events.map(
        ({ type }: HistoryEvent) => type,
      );
    expect(await by('ana')).toEqual(['notes.changed']);
    expect(await by('tester')).toEqual(['version.published']);
    expect(await by('nobody')).toEqual([]);
  });

  it('can be filtered by a period, which includes both ends', async () => {
    const { program, events } = started();
    const [from, to] = [events[3]!.time, events[9]!.time];
    const found = await ok(program, 'GET', `${BASE}/history?since=${from}&until=${to}&page_size=1000`);
    const expected = events.filter(({ time }) => time >= from && time <= to);
    expect(found.events.reverse()).toEqual(expected);
    expect((await ok(program, 'GET', `${BASE}/history?since=${LATER}`)).events).toEqual([]);
    for (const query of ['since=now', 'until=1'])
      await problemOf(await program.ask('GET', `${BASE}/history?${query}`), 400, 'invalid-request');
  });
});

describe('the command line', () => {
  it('shows the active version, the versions and the history of a moment', async () => {
    const { program, events } = started();
    const shown = await cli(program, 'show', '--env', 'production', '--at', '6');
    expect(shown.stdout).toMatch(/version: +default 1\.1\.0 /);
    const listed = await cli(program, 'list', '--at', '2', '--json');
    expect(JSON.parse(listed.stdout).versions).toHaveLength(2);
    const until = events[2]!.time;
    const told = await cli(program, 'history', '--actor', 'tester', '--until', until, '--since', until, '--json');
    expect(JSON.parse(told.stdout).events).toMatchObject([{ revision: 3, type: 'version.activated' }]);
  });

  it('refuses --at with commands that do not support it', async () => {
    const { program } = started();
    expect((await cli(program, 'show', '1.0.0', '--at', '6')).code).toBe(2);
    expect((await cli(program, 'list', '--models', '--at', '6')).code).toBe(2);
    expect((await cli(program, 'show', '--env', 'production', '--at', 'noon')).code).toBe(1);
  });
});
