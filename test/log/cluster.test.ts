import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { append } from '../../src/log/append.ts';
import type { Nats } from '../../src/log/connection.ts';
import { readAt, readNext } from '../../src/log/read.ts';
import { STREAM } from '../../src/log/stream.ts';
import { connected, SERVERS, type TestServer } from '../support/nats.ts';
import {
  appendAll,
  body,
  insist,
  lastRevision,
  type Recorder,
  recorder,
  startClusterLog,
  stored,
  tailing,
  until,
  upTo,
} from './support.ts';

describe.each(SERVERS)('a cluster of three $name servers', { timeout: 120_000 }, ({ name, binary }) => {
  test('acknowledged events are readable at once, and concurrent writers store every event once', async () => {
    const { servers, nats } = await startClusterLog(binary());
    const connections = await Promise.all(servers.map((server) => connected(server)));
    for (let last = 0; last < 50; last++) {
      const [revision] = await appendAll(nats, 'churn', 1);
      const next = await Promise.all(connections.map((reader) => readNext(reader, 'churn', last)));
      const at = await Promise.all(connections.flatMap((reader) => upTo(4).map(() => readAt(reader, revision!))));
      expect(new Set([...next, ...at].map((message) => message?.revision))).toEqual(new Set([revision]));
    }

    // A cluster has two error codes for conflicts. A writer that knew only one would take some conflicts for failures.
    const listener = recorder();
    tailing(nats, listener);
    const writers = upTo(12).map((i) => writer(connections[i % 3]!, 'fraud', `w${i}`));
    await Promise.all(writers.map((writer) => writer.write(5)));
    const written = writers.flatMap(({ acknowledged }) => acknowledged);
    expect(written).toHaveLength(60);
    expect((await stored(nats)).slice(50).toSorted()).toEqual(written.toSorted());
    await until(() => listener.bodies.length >= 110);
    expect(listener.bodies).toEqual(await stored(nats));
  });

  test('an election loses no acknowledged event and stores none twice', async () => {
    const { servers, nats } = await startClusterLog(binary());
    const listener = recorder();
    tailing(nats, listener);
    const writers = upTo(4).map((i) => writer(nats, `model-${i % 2}`, `w${i}`));
    const writing = writers.map((writer) => writer.write(40));
    await until(() => listener.revisions.length > 30);
    const dead = await streamLeader(servers, nats);
    await dead.kill();
    await Promise.all(writing);
    const log = await insist(() => stored(nats));
    expectOnce(log, writers);
    await until(() => listener.bodies.length >= log.length);
    expect(listener.bodies).toEqual(log);

    await dead.start();
    const revision = await insist(() => appendOnce(nats, 'late'));
    await until(() => listener.revisions.at(-1) === revision);
    expect(listener.revisions).toEqual(upTo(revision));
    expect(listener.gaps).toEqual([]);
    expect(listener.states).not.toContain('diverged');
  });

  test('a tail continues while the node that hosts its consumer stays down', async () => {
    const { servers, nats } = await startClusterLog(binary());
    const [, , doomed] = servers;
    const reader = await connected(servers[0]!);
    const recorders: Recorder[] = [];
    // Consumers are placed at random: repeats until one is on a node that its reader is not connected to.
    do {
      const listener = recorder();
      tailing(reader, listener);
      recorders.push(listener);
      await until(() => listener.states.at(-1) === 'live');
    } while (!(await consumerLeaders(nats)).includes('n2'));
    await appendAll(nats, 'fraud', 3);
    await until(() => recorders.every(({ revisions }) => revisions.length >= 3));

    await doomed!.kill();
    const revision = await insist(() => appendOnce(nats, 'fraud'));
    await until(() => recorders.every(({ revisions }) => revisions.at(-1) === revision));
    const log = await insist(() => stored(nats));
    for (const { bodies, gaps, states } of recorders) {
      expect(bodies).toEqual(log);
      expect(gaps).toEqual([]);
      expect(states).not.toContain('diverged');
    }
  });

  // Slow, and independent of the version of the server.
  test.runIf(name === 'current')(
    'without a majority no event is acknowledged, and an unacknowledged event is stored at most once',
    async () => {
      const { servers, nats } = await startClusterLog(binary());
      await appendAll(nats, 'fraud', 1);
      await Promise.all([servers[1]!.kill(), servers[2]!.kill()]);
      const refused = await append(nats, 'fraud', 1, body('maybe')).catch((error: { code: string }) => error.code);
      expect(['outcome-unknown', 'log-unavailable']).toContain(refused);
      await Promise.all([servers[1]!.start(), servers[2]!.start()]);
      const { outcome } = await insist(() => append(nats, 'fraud', 1, body('maybe')));
      expect(outcome).toBe('stored');
      await sleep(500);
      expect((await insist(() => stored(nats))).filter((text) => text === 'maybe')).toHaveLength(1);
    },
  );
});

interface Writer {
  acknowledged: string[];
  /** Events whose outcome is unknown. */
  unknown: string[];
  write(count: number): Promise<void>;
}

/** Writes events one after the other and retries after a conflict or a refusal, as the dispatcher does. */
function writer(nats: Nats, model: string, name: string): Writer {
  const acknowledged: string[] = [];
  const unknown: string[] = [];
  return {
    acknowledged,
    unknown,
    async write(count) {
      let expected = 0;
      for (let attempt = 0; acknowledged.length < count; attempt++) {
        const text = `${name}.${attempt}`;
        try {
          const { outcome, revision } = await append(nats, model, expected, body(text));
          if (outcome === 'stored') acknowledged.push(text);
          expected = revision;
        } catch (error) {
          if ((error as { code: string }).code !== 'log-unavailable') unknown.push(text);
          expected = await insist(() => lastRevision(nats, model));
        }
      }
    },
  };
}

/** Expects every acknowledged event once, every event of unknown outcome at most once, and nothing else. */
function expectOnce(log: string[], writers: Writer[]): void {
  const unknown = writers.flatMap((writer) => writer.unknown);
  const expected = [...writers.flatMap(({ acknowledged }) => acknowledged), ...log.filter((t) => unknown.includes(t))];
  expect(log.toSorted()).toEqual(expected.toSorted());
  expect(new Set(log).size).toBe(log.length);
}

async function appendOnce(nats: Nats, model: string): Promise<number> {
  return (await append(nats, model, await lastRevision(nats, model), body())).revision;
}

async function streamLeader(servers: TestServer[], { jsm }: Nats): Promise<TestServer> {
  const { cluster } = await jsm.streams.info(STREAM);
  return servers[Number(cluster!.leader!.slice(1))]!;
}

async function consumerLeaders({ jsm }: Nats): Promise<string[]> {
  const leaders: string[] = [];
  for await (const { cluster } of jsm.consumers.list(STREAM)) leaders.push(cluster?.leader ?? '');
  return leaders;
}
