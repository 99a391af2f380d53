import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { parse } from 'yaml';
import { reportOf } from '../support/loaders.ts';
import { startNats } from '../support/nats.ts';
import { type Program, startProgram } from '../support/program.ts';
import { copySample, emptyProgram, ok, publish, send, shared, until, versionForm, volumeFolder } from './support.ts';

const program = shared(emptyProgram);
const root = join(import.meta.dirname, '../..');
const read = (path: string) => readFileSync(join(root, path), 'utf8');

/** Every sample, by its name and labels. */
async function samples(from: Program = program()): Promise<Map<string, number>> {
  const response = await fetch(`${from.url}/metrics`);
  expect(response.status).toBe(200);
  expect(response.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
  const lines = (await response.text()).split('\n').filter((line) => line && !line.startsWith('#'));
  return new Map(
    lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ')))]),
  );
}

/** Returns the growth of a sample during an action. */
async function growth(of: string, what: () => Promise<unknown>, from?: Program): Promise<number> {
  const before = (await samples(from)).get(of) ?? 0;
  await what();
  return ((await samples(from)).get(of) ?? 0) - before;
}

describe('a command is counted', () => {
  it('by outcome, and moves by environment', async () => {
    const base = '/api/models/counted';
    const activate = () => ok(program(), 'POST', `${base}/versions/1.0.0/activate`, {});
    await publish(program(), '1.0.0', { 'a.txt': 'a' }, 'counted');
    const before = await samples();
    await ok(program(), 'POST', `${base}/versions/1.0.0/activate`, { dry_run: true });
    await activate();
    await program().ask('POST', `${base}/versions/1.0.0/activate`, {});
    await ok(program(), 'POST', `${base}/deactivate`, { reason: 'r' });
    await ok(program(), 'POST', `${base}/rollback`, { reason: 'r' });
    await program().ask('POST', `${base}/rollback`, { reason: 'r', environment: 'moon' });
    await send(program(), 'POST', `${base}/versions`, versionForm({ version: '1.0.0' }, { 'a.txt': 'a' }));
    const key = { 'Idempotency-Key': 'k-1' };
    for (let i = 0; i < 2; i++) await program().ask('PATCH', `${base}/versions/1.0.0/notes`, { notes: 'n' }, key);
    const after = await samples();
    const grown = (name: string) => (after.get(name) ?? 0) - (before.get(name) ?? 0);
    const command = (command: string, code: string) =>
      grown(`signalbox_commands_total{command="${command}",code="${code}"}`);
    expect(['ok', 'dry-run', 'already-active'].map((code) => command('activate', code))).toEqual([1, 1, 1]);
    expect(['ok', 'unknown-environment'].map((code) => command('rollback', code))).toEqual([1, 1]);
    expect(['ok', 'repeated'].map((code) => command('notes', code))).toEqual([1, 1]);
    expect([command('deactivate', 'ok'), command('publish', 'unchanged')]).toEqual([1, 1]);
    const moved = (kind: string) => grown(`signalbox_${kind}_total{environment="production"}`);
    expect(['activations', 'rollbacks', 'deactivations'].map(moved)).toEqual([1, 1, 1]);
    expect(grown('signalbox_append_duration_seconds_count')).toBe(4);
    expect(grown('signalbox_projection_lag_revisions')).toBe(0);
    expect(grown('signalbox_log_head_revision')).toBe(4);
  });

  it('and timed, if it publishes', async () => {
    const timed = () => publish(program(), '1.0.0', { 'a.txt': 'a' }, 'timed');
    expect(await growth('signalbox_publish_duration_seconds_count', timed)).toBe(1);
  });

  it('also if it adopts a folder on the volume', async () => {
    const volume = await volumeFolder();
    await copySample('1.0.0', join(volume, 'versions/1.0.0'));
    const adopting = await startProgram(volume);
    await until(
      async () => (await samples(adopting)).get('signalbox_commands_total{command="publish",code="ok"}') === 1,
    );
  });
});

describe('the manifest cache', () => {
  it('misses after an event of the model, then hits', async () => {
    await publish(program(), '1.0.0', { 'a.txt': 'a' }, 'cached');
    await ok(program(), 'POST', '/api/models/cached/versions/1.0.0/activate', {});
    const three = async () => {
      for (let i = 0; i < 3; i++) await ok(program(), 'GET', '/api/models/cached/versions/active');
    };
    const before = await samples();
    await three();
    const after = await samples();
    const grown = (kind: string) => {
      const name = `signalbox_manifest_cache_${kind}_total`;
      return after.get(name)! - before.get(name)!;
    };
    expect([grown('hits'), grown('misses')]).toEqual([2, 1]);
  });
});

describe('loaders', () => {
  it('are counted by state, and timed until the last of them serves the activated version', async () => {
    const base = '/api/models/fleet';
    const one = await publish(program(), '1.0.0', { 'a.txt': 'a' }, 'fleet');
    const { revision } = await ok(program(), 'POST', `${base}/versions/1.0.0/activate`, { environment: 'staging' });
    const target = { version: '1.0.0', manifest_digest: one.manifest_digest, revision };
    const two = await publish(program(), '1.1.0', { 'a.txt': 'b' }, 'fleet');
    const say = async (instance: string, fields: Parameters<typeof reportOf>[0]) => {
      const report = reportOf({ environment: 'staging', cache: { hits: 3, misses: 1 }, ...fields });
      await until(async () => (await program().ask('PUT', `${base}/loaders/${instance}`, report)).status === 204);
    };
    const loaders = async (state: string) =>
      (await samples()).get(`signalbox_loaders{environment="staging",state="${state}"}`);
    for (const instance of ['a', 'b']) await say(instance, { state: 'ready', target, current: target });
    await until(async () => (await loaders('ready')) === 2);
    expect((await samples()).get('signalbox_loaders_cache_hits')).toBe(6);

    const moved = await ok(program(), 'POST', `${base}/versions/1.1.0/activate`, { environment: 'staging' });
    const next = { version: '1.1.0', manifest_digest: two.manifest_digest, revision: moved.revision };
    const timed = 'signalbox_convergence_duration_seconds_count{environment="staging"}';
    await say('a', { state: 'ready', target: next, current: next });
    await say('b', { state: 'loading', target: next, current: target });
    await until(async () => (await loaders('loading')) === 1);
    expect((await samples()).get(timed)).toBe(0);
    await say('b', { state: 'ready', target: next, current: next });
    await until(async () => (await samples()).get(timed) === 1);
    await say('lost', { environment: 'moon', state: 'failed' });
    await until(async () => (await samples()).get('signalbox_loaders{environment="other",state="failed"}') === 1);
  });

  it('that follow are counted', async () => {
    const response = await program().ask('GET', '/api/models/default/events');
    await until(async () => (await samples()).get('signalbox_followers') === 1);
    await response.body!.cancel();
    await until(async () => (await samples()).get('signalbox_followers') === 0);
  });
});

it('exports the state of the log, also while NATS is unavailable', async () => {
  const nats = await startNats(process.env.NATS_SERVER_BIN!);
  const program = await startProgram(await volumeFolder(), { NATS_URL: nats.url, REGISTRY_DISCOVERY: 'off' });
  const state = async (name: string) => (await samples(program)).get(`signalbox_log_state{state="${name}"}`);
  expect(await state('live')).toBe(1);
  await nats.kill();
  await until(async () => (await state('cut-off')) === 1);
  const away = await samples(program);
  expect(away.get('signalbox_log_state{state="live"}')).toBe(0);
  expect(away.get('signalbox_log_reconnects_total')).toBeGreaterThan(0);
  await until(async () => (await samples(program)).get('signalbox_projection_lag_seconds')! > 0);
  await nats.start();
  await until(async () => (await state('live')) === 1);
  expect((await samples(program)).get('signalbox_projection_lag_seconds')).toBe(0);
});

it('starts every count that an alert selects by its code at 0, so that the first error shows', async () => {
  const { groups } = parse(read('deploy/alerts.yml')) as { groups: { rules: { expr: string }[] }[] };
  const expressions = groups.flatMap(({ rules }) => rules).map(({ expr }) => expr);
  const watched = expressions.flatMap((expr) => [...expr.matchAll(/command="(\w+)", code=~"([^"]+)"/g)]);
  expect(watched.length).toBeGreaterThan(0);
  const quiet = await samples(await emptyProgram(onTestFinished));
  for (const [, command, codes] of watched) {
    for (const code of codes!.split('|')) {
      expect(quiet.get(`signalbox_commands_total{command="${command}",code="${code}"}`), code).toBe(0);
    }
  }
});

it('counts answers by route and not by path', async () => {
  await fetch(`${program().url}/api/nothing/${Math.random()}`);
  await program().ask('GET', '/api/models/nobody/versions/1.0.0');
  const counted = [...(await samples()).keys()].filter((name) => name.startsWith('signalbox_http_requests_total'));
  expect(counted).toContain('signalbox_http_requests_total{method="GET",route="*",status="404"}');
  expect(counted).toContain(
    'signalbox_http_requests_total{method="GET",route="/api/models/:model/versions/:version",status="404"}',
  );
  expect(counted.join()).not.toMatch(/nobody|nothing|\{\(/);
});

describe('the documents, alerts and dashboard', () => {
  it('document each metric and no other', async () => {
    const { families } = await exported();
    const documented = [...read('docs/metrics.md').matchAll(/^\| `(\w+)` \| (\w+)/gm)].map(([, name, kind]) => [
      name,
      kind,
    ]);
    const own = [...families].filter(([name]) => name.startsWith('signalbox_'));
    expect(documented.toSorted()).toEqual(own.toSorted());
  });

  it('use exported metrics and labels only', async () => {
    const { names, labels } = await exported();
    const alerts = parse(read('deploy/alerts.yml')) as { groups: { rules: { alert: string; expr: string }[] }[] };
    const rules = alerts.groups.flatMap(({ rules }) => rules);
    const drawn = expressionsOf(JSON.parse(read('deploy/grafana-dashboard.json')));
    expect(rules.length).toBeGreaterThan(10);
    expect(drawn.length).toBeGreaterThan(20);
    for (const expression of [...rules.map(({ expr }) => expr), ...drawn]) {
      const used = [...expression.matchAll(/\b(?:signalbox|process|nodejs)_\w+/g)].map(([name]) => name);
      expect(used.length, expression).toBeGreaterThan(Number(!expression.startsWith('up{')) - 1);
      expect(
        used.filter((name) => !names.has(name)),
        expression,
      ).toEqual([]);
      const grouped = [...expression.matchAll(/\bby \(([^)]*)\)/g)].flatMap(([, list]) => list!.split(/,\s*/));
      const matched = [...expression.matchAll(/(\w+)(?:=~|!~|!=|=)"/g)].map(([, label]) => label!);
      expect(
        [...grouped, ...matched].filter((label) => !labels.has(label)),
        expression,
      ).toEqual([]);
    }
  });

  /** Families with their kinds, names of samples (a histogram has three), and labels, with those that Prometheus adds. */
  async function exported() {
    const text = await (await fetch(`${program().url}/metrics`)).text();
    const families = new Map([...text.matchAll(/^# TYPE (\w+) (\w+)$/gm)].map(([, name, kind]) => [name!, kind!]));
    const parts = (name: string, kind: string) =>
      kind === 'histogram' ? ['_bucket', '_sum', '_count'].map((part) => name + part) : [name];
    const names = new Set([...families].flatMap(([name, kind]) => parts(name, kind)));
    const labels = [...text.matchAll(/(\w+)="/g)].map(([, label]) => label!);
    return { families, names, labels: new Set([...labels, 'instance', 'job', 'le', 'environment']) };
  }
});

function expressionsOf(part: unknown): string[] {
  if (typeof part !== 'object' || part === null) return [];
  return Object.entries(part).flatMap(([key, value]) =>
    key === 'expr' && typeof value === 'string' ? [value] : expressionsOf(value),
  );
}
