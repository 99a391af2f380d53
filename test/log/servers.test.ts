import { setTimeout as sleep } from 'node:timers/promises';
import { Kvm } from '@nats-io/kv';
import { type Logger, pino } from 'pino';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { Nats } from '../../src/log/connection.ts';
import {
  announceServer,
  SERVERS as BUCKET,
  type ServerAnnouncement,
  type WatchServersOptions,
  watchServers,
} from '../../src/log/servers.ts';
import { connected, SERVERS, startNats } from '../support/nats.ts';
import { back, insist, until } from './support.ts';

describe.each(SERVERS)('announcements on the $name server', ({ binary }) => {
  test('create a bounded bucket in memory that drops an entry after 90 s', async () => {
    const { nats, watch } = await start(binary());
    announce(nats, 'a');
    await until(() => watch.names().length === 1);
    const { config } = await nats.jsm.streams.info(`KV_${BUCKET}`);
    expect(config).toMatchObject({ storage: 'memory', max_age: 90e9, max_msgs_per_subject: 1, max_bytes: 2 ** 22 });
  });

  test('show each server to watchers that started before it and after it', async () => {
    const { server, nats, watch } = await start(binary());
    const [a, b] = [announcement('a', { pid: 7 }), announcement('b')];
    announce(nats, a);
    await until(() => watch.names().length === 1);
    announce(await connected(server), b);
    await until(() => watch.names().length === 2);
    expect(watch.servers.all()).toEqual([a, b]);
    const later = watching(await connected(server));
    await until(() => later.names().length === 2);
    expect(later.servers.all()).toEqual([a, b]);
  });

  test('are withdrawn at once when the server closes', async () => {
    const { nats, watch } = await start(binary());
    const announced = announce(nats, 'a');
    announce(nats, 'b');
    await until(() => watch.names().length === 2);
    await announced.close();
    await until(() => watch.names().join() === 'b');
    const later = watching(nats);
    await until(() => later.names().join() === 'b');
  });

  test('of a killed server are forgotten after their age', async () => {
    const { server, nats, watch } = await start(binary(), { maxAgeMs: 2_000 });
    const killed = await connected(server);
    announce(killed, 'killed', { everyMs: 200, maxAgeMs: 2_000 });
    announce(nats, 'alive', { everyMs: 200, maxAgeMs: 2_000 });
    await until(() => watch.names().length === 2);
    await killed.nc.close();
    const since = Date.now();
    expect(watch.names()).toContain('killed');
    await until(() => watch.names().join() === 'alive');
    expect(Date.now() - since).toBeGreaterThan(1_000);
  });

  test('are repeated, also after the bucket was deleted', async () => {
    const { nats } = await start(binary());
    announce(nats, 'a', { everyMs: 100 });
    await until(async () => (await lastRevision(nats)) > 3);
    await nats.jsm.streams.delete(`KV_${BUCKET}`);
    const later = watching(nats);
    await until(() => later.names().join() === 'a');
  });

  test('survive a restart of NATS, and are repeated at the reconnect', async () => {
    const { server, nats, watch } = await start(binary());
    announce(nats, 'a');
    await until(() => watch.names().length === 1);
    await server.kill();
    await until(() => watch.states.at(-1) === 'cut-off');
    expect(watch.names()).toEqual(['a']);
    await server.start();
    await back(nats);
    const later = watching(await connected(server));
    await until(() => later.names().join() === 'a');
    await until(() => watch.states.at(-1) === 'live');
    expect(watch.names()).toEqual(['a']);
  });

  test('neither block nor fail a start or a close while NATS is down, and are logged once', async () => {
    const { server, nats } = await start(binary());
    await server.kill();
    const { log, lines } = logger();
    const started = Date.now();
    const announced = announceServer(nats, announcement('a'), { log, everyMs: 100 });
    expect(Date.now() - started).toBeLessThan(500);
    await until(() => lines.length === 1);
    await sleep(1_000);
    const closing = Date.now();
    await announced.close();
    expect(Date.now() - closing).toBeLessThan(4_000);
    expect(lines.filter((line) => line.includes('cannot announce itself'))).toHaveLength(1);
  });

  test('do not block a close while NATS does not answer', async () => {
    const { server, nats, watch } = await start(binary());
    const announced = announce(nats, 'a', { everyMs: 50 });
    await until(() => watch.names().length === 1);
    server.process().kill('SIGSTOP');
    const closing = Date.now();
    await announced.close();
    expect(Date.now() - closing).toBeLessThan(4_000);
    server.process().kill('SIGCONT');
  });

  test('ignore invalid entries and unknown fields of a newer server', async () => {
    const { nats, watch } = await start(binary());
    const bucket = await insist(() => new Kvm(nats.js).open(BUCKET));
    const json = (fields: object) => JSON.stringify({ ...announcement('x'), ...fields });
    await bucket.put('x', 'no JSON');
    await bucket.put('x', 'null');
    await bucket.put('x', '{"server":"x"}');
    await bucket.put('x', json({ reads: { 'notes.changed': 'all' } }));
    await bucket.put('x', json({ reads: { 'notes.changed': 0 } }));
    await bucket.put('x', json({ address: 'a'.repeat(201) }));
    await bucket.put('other', json({}));
    await bucket.put('x.y', json({ server: 'x.y' }));
    await bucket.put('new', json({ server: 'new', zone: 'eu' }));
    await until(() => watch.names().length > 0);
    expect(watch.servers.all()).toEqual([announcement('new')]);
    // An invalid entry does not hide a server that is still known.
    await bucket.put('new', 'no JSON');
    await bucket.put('last', json({ server: 'last' }));
    await until(() => watch.names().includes('last'));
    expect(watch.names()).toEqual(['new', 'last']);
  });

  test('are kept up to a limit, and a new one finds room when another is withdrawn', async () => {
    const { log, lines } = logger();
    const { nats, watch } = await start(binary(), { limit: 2, log });
    const first = announce(nats, 'a');
    await until(() => watch.names().length === 1);
    announce(nats, 'b', { everyMs: 100 });
    await until(() => watch.names().length === 2);
    announce(nats, 'c', { everyMs: 100 });
    await until(() => lines.some((line) => line.includes('more servers')));
    await sleep(500);
    expect(watch.names()).toEqual(['a', 'b']);
    await first.close();
    await until(() => watch.names().join() === 'b,c');
    expect(lines.filter((line) => line.includes('more servers'))).toHaveLength(1);
  });

  test('from before the watch have their age from the clock of NATS', async () => {
    const { nats, watch } = await start(binary());
    announce(nats, 'a');
    await until(() => watch.names().length === 1);
    let ahead = 60_000;
    const later = watching(nats, { now: () => Date.now() + ahead });
    await until(() => later.names().length === 1);
    ahead = 95_000;
    expect(later.names()).toEqual([]);
  });
});

describe('a server that cannot read an event', () => {
  const reads = { 'notes.changed': 1, 'version.praised': 2 };
  test.each<[string, number, string | null]>([
    ['version.praised', 1, null],
    ['version.praised', 2, null],
    ['version.praised', 3, 'full'],
    ['notes.changed', 1, 'partial'],
    ['version.sealed', 1, 'full'],
    ['constructor', 1, 'full'],
  ])('is found for %s in version %d', async (type, version, expected) => {
    const { nats, watch } = await start(SERVERS[0]!.binary());
    announce(nats, announcement('full', { reads }));
    await until(() => watch.names().length === 1);
    announce(nats, announcement('partial', { reads: { 'version.praised': 9 } }));
    await until(() => watch.names().length === 2);
    expect(watch.servers.unableToRead(type, version)?.server ?? null).toBe(expected);
  });

  test('is not found when no server has announced itself', async () => {
    const { watch } = await start(SERVERS[0]!.binary());
    expect(watch.servers.unableToRead('version.praised', 1)).toBeNull();
  });

  test('is no longer found once it has closed', async () => {
    const { nats, watch } = await start(SERVERS[0]!.binary());
    const old = announce(nats, announcement('old', { reads: {} }));
    await until(() => watch.servers.unableToRead('notes.changed', 1)?.server === 'old');
    await old.close();
    await until(() => watch.servers.unableToRead('notes.changed', 1) === null);
  });
});

function announcement(server: string, fields: Partial<ServerAnnouncement> = {}): ServerAnnouncement {
  return {
    server,
    version: '0.2.0',
    address: 'http://127.0.0.1:3000',
    host: 'registry-1',
    pid: 4711,
    started_at: '2026-03-03T14:05:00.000Z',
    reads: { 'notes.changed': 1 },
    ...fields,
  };
}

/** A nats-server of its own and a watch of it. */
async function start(binary: string, options: Partial<WatchServersOptions> = {}) {
  const server = await startNats(binary);
  const nats = await connected(server);
  const watch = watching(nats, options);
  await until(() => watch.states.at(-1) === 'live');
  return { server, nats, watch };
}

function watching(nats: Nats, options: Partial<WatchServersOptions> = {}) {
  const states: string[] = [];
  const quiet = pino({ level: 'debug' }, { write: (line: string) => states.push(JSON.parse(line).state) });
  const servers = watchServers(nats, { log: quiet, ...options });
  onTestFinished(() => servers.close());
  if (options.log) states.push('live');
  return { servers, states, names: () => servers.all().map(({ server }) => server) };
}

function announce(nats: Nats, what: string | ServerAnnouncement, options = {}) {
  const given = typeof what === 'string' ? announcement(what) : what;
  const announced = announceServer(nats, given, { log: pino({ level: 'silent' }), ...options });
  onTestFinished(() => announced.close());
  return announced;
}

function logger(): { log: Logger; lines: string[] } {
  const lines: string[] = [];
  return { lines, log: pino({ level: 'warn' }, { write: (line: string) => lines.push(line) }) };
}

async function lastRevision({ jsm }: Nats): Promise<number> {
  const info = await jsm.streams.info(`KV_${BUCKET}`).catch(() => null);
  return info?.state.last_seq ?? 0;
}
