import { Kvm } from '@nats-io/kv';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { LoaderReport } from '../../src/domain/fleet.ts';
import type { Nats } from '../../src/log/connection.ts';
import { ensureLoaders, LOADERS } from '../../src/log/report-streams.ts';
import type { ReceivedReport } from '../../src/log/report-watch.ts';
import { openReports, type Reports } from '../../src/log/reports.ts';
import type { TailState } from '../../src/log/supervise.ts';
import { errorOf, reportOf, targetOf } from '../support/loaders.ts';
import { connected, SERVERS, startCluster, startNats } from '../support/nats.ts';
import { back, insist, until } from './support.ts';

const BUCKET = 'signalbox_loaders';

describe.each(SERVERS)('reports on the $name server', ({ binary }) => {
  test('create a bounded bucket and stream, which a second server accepts as they are', async () => {
    const { nats } = await startReports(binary());
    const bucket = (await nats.jsm.streams.info(`KV_${BUCKET}`)).config;
    expect(bucket).toMatchObject({ storage: 'memory', max_msgs_per_subject: 1, max_age: 90e9, num_replicas: 1 });
    const stream = (await nats.jsm.streams.info(LOADERS)).config;
    expect(stream).toMatchObject({ storage: 'file', retention: 'limits', discard: 'old', max_age: 30 * 86_400e9 });
    expect(stream).toMatchObject({ subjects: ['registry.loaders.*.*'], max_bytes: 2 ** 28, max_msg_size: 2 ** 14 });
    for (const config of [bucket, stream]) expect(config.max_bytes).toBeGreaterThan(0);
    const second = watch(openReports(nats));
    await until(() => second.states.includes('live'));
  });

  test('arrive at a watch as they come, and at a later watch as replayed', async () => {
    const { reports, watched, nats } = await startReports(binary());
    const first = reportOf({ state: 'ready', target: targetOf('1.0.0', 2), current: targetOf('1.0.0', 2) });
    await reports.put('fraud', 'scorer-1', first);
    await reports.put('fraud', 'Scorer_2', reportOf());
    await until(() => watched.received.length === 2);
    expect(watched.received).toEqual([
      { model: 'fraud', instance: 'scorer-1', report: first, at: expect.any(Date), replayed: false },
      { model: 'fraud', instance: 'Scorer_2', report: reportOf(), at: expect.any(Date), replayed: false },
    ]);
    const later = watch(openReports(nats));
    await until(() => later.received.length === 2);
    expect(later.received.map(({ instance, replayed }) => ({ instance, replayed }))).toEqual([
      { instance: 'scorer-1', replayed: true },
      { instance: 'Scorer_2', replayed: true },
    ]);
  });

  test('of a loader that stops are removed', async () => {
    const { reports, watched, nats } = await startReports(binary());
    await reports.put('fraud', 'scorer-1', reportOf());
    await reports.put('fraud', 'scorer-1', reportOf({ state: 'stopped' }));
    await until(() => watched.received.at(-1)?.report === null);
    expect(watched.received.at(-1)).toMatchObject({ model: 'fraud', instance: 'scorer-1' });
    expect(await keysOf(nats)).toEqual([]);
  });

  test('expire after their maximum age', async () => {
    const { reports, nats } = await startReports(binary(), { maxAgeMs: 1_000 });
    await reports.put('fraud', 'scorer-1', reportOf());
    expect(reports.maxAgeMs).toBe(1_000);
    await until(async () => (await keysOf(nats)).length === 0);
    const later = watch(openReports(nats));
    await until(() => later.states.includes('live'));
    expect(later.received).toEqual([]);
  });

  test('are stored as a change when the state changes, and only then', async () => {
    const { reports, nats } = await startReports(binary());
    const other = openReports(nats);
    const ready = reportOf({ state: 'ready', target: targetOf('1.0.0', 2), current: targetOf('1.0.0', 2) });
    const put = (fields: Partial<LoaderReport>, through = reports) =>
      through.put('fraud', 'a', { ...ready, ...fields });
    const failed = { state: 'failed', target: targetOf('1.1.0', 5), error: errorOf('hydrate-failed', 'once') } as const;
    await put({});
    await put({ cache: { hits: 7, misses: 0 }, stale: true });
    await put({ state: 'loading', target: targetOf('1.1.0', 5) });
    await put(failed);
    await put({ ...failed, error: errorOf('hydrate-failed', 'twice') });
    await put({ since: '2026-03-03T14:06:00Z' });
    await put({ state: 'stopped' });
    await reports.put('fraud', 'b', ready);
    // A report to another server in between does not hide the return to the earlier state.
    await put({ ...failed, since: '2026-03-03T14:07:00Z' }, other);
    await put({ since: '2026-03-03T14:08:00Z' });
    const changes = (await storedIn(nats)).map(([subject, report]) => [subject, report.state, report.target?.version]);
    expect(changes).toEqual([
      ['registry.loaders.fraud.a', 'ready', '1.0.0'],
      ['registry.loaders.fraud.a', 'loading', '1.1.0'],
      ['registry.loaders.fraud.a', 'failed', '1.1.0'],
      ['registry.loaders.fraud.a', 'ready', '1.0.0'],
      ['registry.loaders.fraud.a', 'stopped', '1.0.0'],
      ['registry.loaders.fraud.b', 'ready', '1.0.0'],
      ['registry.loaders.fraud.a', 'failed', '1.1.0'],
      ['registry.loaders.fraud.a', 'ready', '1.0.0'],
    ]);
  });

  test('arrive again after a restart of NATS, which loses the bucket and keeps the changes', async () => {
    const { server, reports, watched, nats } = await startReports(binary());
    await reports.put('fraud', 'before', reportOf());
    await until(() => watched.received.length === 1);
    await server.kill();
    await until(() => watched.states.at(-1) === 'cut-off');
    await server.start();
    await back(nats);
    await insist(() => reports.put('fraud', 'after', reportOf()));
    await until(() => watched.received.at(-1)?.instance === 'after');
    await until(() => watched.states.at(-1) === 'live');
    expect(await keysOf(nats)).toEqual(['fraud.after']);
    expect((await storedIn(nats)).map(([subject]) => subject)).toEqual([
      'registry.loaders.fraud.before',
      'registry.loaders.fraud.after',
    ]);
  });

  test('arrive again after the bucket was deleted', async () => {
    const { reports, watched, nats } = await startReports(binary());
    await nats.jsm.streams.delete(`KV_${BUCKET}`);
    await insist(() => reports.put('fraud', 'a', reportOf()));
    await until(() => watched.received.some(({ instance }) => instance === 'a'));
  });

  test('that NATS did not store do not count against the limit of changes', async () => {
    const server = await startNats(binary());
    const nats = await connected(server);
    // Without permission to create the stream every attempt fails, as in a cluster without a leader.
    const writer = openReports(nats, { create: false });
    for (let i = 0; i < 40; i++) await expect(writer.put('fraud', 'a', reportOf())).rejects.toThrow();
    await ensureLoaders(nats);
    const watched = watch(openReports(nats));
    await until(() => watched.states.includes('live'));
    await writer.put('fraud', 'a', reportOf());
    expect(await storedIn(nats)).toHaveLength(1);
  });

  test('are refused within seconds while NATS is unavailable', async () => {
    const { server, reports, watched } = await startReports(binary());
    await server.kill();
    await expect(reports.put('fraud', 'a', reportOf())).rejects.toThrow();
    await until(() => watched.states.at(-1) === 'cut-off');
  });

  test('of a loader that changes all the time are limited, but its last report always arrives', async () => {
    const { reports, nats, watched } = await startReports(binary());
    const time = (i: number) => new Date(Date.UTC(2026, 2, 3) + i * 1000).toISOString();
    for (let i = 0; i < 40; i++) await reports.put('fraud', 'flapping', reportOf({ since: time(i) }));
    await reports.put('fraud', 'calm', reportOf());
    await until(() => watched.received.length === 41);
    expect(watched.received.findLast(({ instance }) => instance === 'flapping')?.report?.since).toBe(time(39));
    const of = async (name: string) => (await storedIn(nats)).filter(([subject]) => subject.endsWith(name)).length;
    expect([await of('flapping'), await of('calm')]).toEqual([30, 1]);
  });

  test('of one model do not push out the changes of another', async () => {
    const { reports, nats } = await startReports(binary(), { share: { fromBytes: 1, keep: 50 } });
    await reports.put('quiet', 'a', reportOf());
    for (let i = 0; i < 500; i++) await reports.put('noisy', `made-up-${i}`, reportOf());
    let subjects: string[] = [];
    await until(async () => {
      const { state } = await nats.jsm.streams.info(LOADERS, { subjects_filter: 'registry.loaders.>' });
      subjects = Object.keys(state.subjects ?? {});
      return subjects.length < 100;
    });
    expect(subjects).toContain('registry.loaders.quiet.a');
    expect(subjects).toContain('registry.loaders.noisy.made-up-499');
    expect(subjects.length).toBeGreaterThanOrEqual(51);
  });

  test('of a loader that may only write create neither bucket nor stream', async () => {
    const nats = await connected(await startNats(binary()));
    const writer = openReports(nats, { create: false });
    await expect(writer.put('fraud', 'a', reportOf())).rejects.toThrow();
    const watched = watch(openReports(nats));
    await until(() => watched.states.includes('live'));
    await writer.put('fraud', 'a', reportOf());
    await until(() => watched.received.length === 1);
  });

  test('are ignored if they are invalid, and read if a newer loader added fields', async () => {
    const { watched, nats } = await startReports(binary());
    const bucket = await new Kvm(nats.js).open(BUCKET);
    await bucket.put('fraud.a', 'not JSON');
    await bucket.put('fraud.a', '{"state":"ready"}');
    await bucket.put('fraud', JSON.stringify(reportOf()));
    await bucket.put('fraud.a.b', JSON.stringify(reportOf()));
    await bucket.put('Fraud.a', JSON.stringify(reportOf()));
    await bucket.put('fraud.new', JSON.stringify({ ...reportOf(), gpu: 'yes' }));
    await until(() => watched.received.length > 0);
    expect(watched.received).toMatchObject([{ instance: 'new', report: reportOf() }]);
  });
});

describe.each(SERVERS)('reports on a $name cluster', { timeout: 120_000 }, ({ binary }) => {
  test('have three replicas, and arrive again after a restart of all servers', async () => {
    const servers = await startCluster(binary());
    const nats = await connected(...servers);
    const reports = openReports(nats);
    const watched = watch(reports);
    await insist(() => reports.put('fraud', 'before', reportOf()));
    for (const stream of [`KV_${BUCKET}`, LOADERS]) {
      expect((await nats.jsm.streams.info(stream)).config.num_replicas).toBe(3);
    }
    await Promise.all(servers.map((server) => server.kill()));
    await Promise.all(servers.map((server) => server.start()));
    await insist(() => reports.put('fraud', 'after', reportOf()));
    await until(() => watched.received.some(({ instance }) => instance === 'after'));
  });
});

test('reports arrive even if the stream of changes cannot be created', async () => {
  const nats = await connected(await startNats(SERVERS[0]!.binary()));
  await nats.jsm.streams.add({ name: 'other', subjects: ['registry.loaders.>'] });
  await expect(ensureLoaders(nats)).rejects.toThrow();
  const reports = openReports(nats);
  const watched = watch(reports);
  await reports.put('fraud', 'a', reportOf());
  await until(() => watched.received.length === 1);
});

/** Starts a server with reports and a watch of them. */
async function startReports(binary: string, options = {}) {
  const server = await startNats(binary);
  const nats = await connected(server);
  const reports = openReports(nats, options);
  const watched = watch(reports);
  await until(() => watched.states.includes('live'));
  return { server, nats, reports, watched };
}

function watch(reports: Reports) {
  const watched = { received: [] as ReceivedReport[], states: [] as TailState[] };
  const tail = reports.watch({
    report: (received) => watched.received.push(received),
    state: (state) => watched.states.push(state),
  });
  onTestFinished(() => tail.close());
  return watched;
}

/** The KV client's own `keys` hangs if a key expires after it has counted them. */
async function keysOf({ jsm }: Nats): Promise<string[]> {
  const prefix = `$KV.${BUCKET}.`;
  const { state } = await jsm.streams.info(`KV_${BUCKET}`, { subjects_filter: `${prefix}>` });
  const subjects = Object.keys(state.subjects ?? {});
  const values = await Promise.all(
    subjects.map((subject) => jsm.streams.getMessage(`KV_${BUCKET}`, { last_by_subj: subject })),
  );
  const present = values.filter((message) => message && !message.header.has('KV-Operation'));
  return present.map((message) => message!.subject.slice(prefix.length));
}

async function storedIn({ jsm }: Nats): Promise<[string, LoaderReport][]> {
  const { state } = await jsm.streams.info(LOADERS);
  const found: [string, LoaderReport][] = [];
  for (let seq = 1; seq <= state.last_seq; seq++) {
    const message = await jsm.streams.getMessage(LOADERS, { seq });
    if (message) found.push([message.subject, message.json<LoaderReport>()]);
  }
  return found;
}
