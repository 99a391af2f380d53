import { cp, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { Nats } from '../../src/log/connection.ts';
import { tailLog } from '../../src/log/log-tail.ts';
import { ensureStream, STREAM, subjectOf } from '../../src/log/stream.ts';
import { connected, SERVERS, startNats, type TestServer } from '../support/nats.ts';
import { appendAll, back, reconnect, recorder, startLog, stored, tailing, until, upTo } from './support.ts';

describe.each(SERVERS)('tailing a log on the $name server', { timeout: 60_000 }, ({ binary }) => {
  test('is live on an empty log, and reads new events', async () => {
    const { nats } = await startLog(binary());
    const listener = recorder();
    tailing(nats, listener);
    await until(() => listener.states.length > 0);
    expect(listener.states).toEqual(['live']);
    await appendAll(nats, 'fraud', 3);
    await until(() => listener.revisions.length >= 3);
    expect(listener.bodies).toEqual(await stored(nats));
    expect(listener.states).toEqual(['live']);
  });

  test('catches up from its position and then is live', async () => {
    const { nats } = await startLog(binary());
    await fill(nats, 5_000);
    const listener = recorder();
    const first = tailLog(nats, listener);
    await until(() => listener.states.includes('live'));
    expect(listener.states).toEqual(['catching-up', 'live']);
    expect(listener.revisions).toEqual(upTo(5_000));
    await first.close();
    await appendAll(nats, 'fraud', 3);
    tailing(nats, listener);
    await until(() => listener.revisions.length >= 5_003);
    expect(listener.revisions).toEqual(upTo(5_003));
    expect(listener.gaps).toEqual([]);
  });

  test('says nothing of the head of the log in a round that was ended', async () => {
    const { nats } = await startLog(binary());
    await fill(nats, 3);
    const listener = recorder();
    const restarted: string[] = [];
    const { consumers } = nats.js;
    const get = async (...given: Parameters<typeof consumers.get>) => {
      const consumer = await consumers.get(...given);
      const info = consumer.info.bind(consumer);
      consumer.info = async (...options) => {
        const answer = await info(...options);
        if (restarted.length === 0) tail.restart();
        restarted.push(listener.states.join());
        return answer;
      };
      return consumer;
    };
    const js = Object.create(nats.js, { consumers: { value: Object.create(consumers, { get: { value: get } }) } });
    const tail = tailLog({ ...nats, js }, listener);
    onTestFinished(() => tail.close());
    await until(() => listener.states.includes('live'));
    expect(restarted).toEqual(['', 'cut-off']);
  });

  test('misses nothing and repeats nothing when the server is killed and comes back', async () => {
    const { server, nats } = await startLog(binary());
    const listener = recorder();
    tailing(nats, listener);
    for (const round of upTo(3)) {
      await appendAll(nats, 'fraud', 10);
      await server.kill();
      await server.start();
      await back(nats);
      await appendAll(nats, `after-${round}`, 1);
    }
    await until(() => listener.revisions.length >= 33);
    expect(listener.bodies).toEqual(await stored(nats));
    expect(listener.revisions).toEqual(upTo(33));
    expect(listener.gaps).toEqual([]);
    expect(listener.states).not.toContain('diverged');
    await until(() => listener.states.at(-1) === 'live');
  });

  test('continues after a reconnect', async () => {
    const { server, nats } = await startLog(binary());
    const writer = await connected(server);
    const listener = recorder();
    tailing(nats, listener);
    for (const _ of upTo(3)) {
      await appendAll(writer, 'fraud', 2);
      await reconnect(nats);
    }
    await appendAll(writer, 'fraud', 2);
    await until(() => listener.revisions.length >= 8);
    expect(listener.bodies).toEqual(await stored(nats));
  });

  test('continues after its consumer was deleted', async () => {
    const { nats } = await startLog(binary());
    const listener = recorder();
    tailing(nats, listener);
    await appendAll(nats, 'fraud', 2);
    await until(() => listener.revisions.length >= 2);
    await deleteConsumers(nats);
    await appendAll(nats, 'fraud', 2);
    await until(() => listener.revisions.length >= 4);
    expect(listener.bodies).toEqual(await stored(nats));
  });

  test('survives a server that is paused for a while', async () => {
    const { server, nats } = await startLog(binary());
    const listener = recorder();
    tailing(nats, listener);
    await until(() => listener.states.includes('live'));
    process.kill(server.process().pid!, 'SIGSTOP');
    await until(() => listener.states.at(-1) === 'cut-off');
    process.kill(server.process().pid!, 'SIGCONT');
    await appendAll(nats, 'fraud', 2);
    await until(() => listener.revisions.length >= 2);
    expect(listener.bodies).toEqual(await stored(nats));
  });
});

describe.each(SERVERS)('a log that was replaced on the $name server', { timeout: 60_000 }, ({ binary }) => {
  test('is diverged if it is shorter, and stays diverged when it grows', async () => {
    const { nats } = await startLog(binary());
    const listener = await tailedToHead(nats, 5);
    const seen = [...listener.bodies];
    await nats.jsm.streams.delete(STREAM);
    await ensureStream(nats);
    await until(() => listener.states.at(-1) === 'diverged');
    await appendAll(nats, 'fraud', 8);
    await reconnect(nats);
    await until(() => listener.states.slice(-2).join() === 'cut-off,diverged');
    expect(listener.bodies).toEqual(seen);
    expect(listener.restarts).toEqual([]);
  });

  test('is diverged if the store is an older copy; the tail continues with the right store', async () => {
    const { server, nats } = await startLog(binary());
    await appendAll(nats, 'fraud', 20);
    const backup = await storeOf(server).backUp();
    await back(nats);
    const listener = await tailedToHead(nats, 5);
    const current = await storeOf(server).replaceWith(backup);
    await until(() => listener.states.at(-1) === 'diverged');
    await appendAll(nats, 'fraud', 10);
    await reconnect(nats);
    await until(() => listener.states.slice(-2).join() === 'cut-off,diverged');
    expect(listener.revisions).toEqual(upTo(25));

    await storeOf(server).replaceWith(current);
    await until(() => listener.states.at(-1) === 'live');
    await appendAll(nats, 'churn', 1);
    await until(() => listener.revisions.length > 25);
    expect(listener.bodies).toEqual(await stored(nats));
  });

  test('is read from the start if its generation is higher', async () => {
    const { nats } = await startLog(binary());
    const listener = await tailedToHead(nats, 5);
    await restoreAs(nats, 1);
    await appendAll(nats, 'fraud', 3);
    await until(() => listener.revisions.length === 3);
    expect(listener.restarts).toEqual([1]);
    expect(listener.bodies).toEqual(await stored(nats));
    expect(listener.states).not.toContain('diverged');

    await restoreAs(nats, 1); // the same generation again: the loss is not a restore
    await until(() => listener.states.at(-1) === 'diverged');
    expect(listener.restarts).toEqual([1]);
  });

  test('is diverged after a loss, even if the generation was raised before under the same content', async () => {
    const { nats } = await startLog(binary());
    const listener = await tailedToHead(nats, 5);
    const { config } = await nats.jsm.streams.info(STREAM);
    const metadata = { application: 'signalbox', generation: '1' };
    await nats.jsm.streams.update(STREAM, { ...config, metadata });
    await reconnect(nats);
    await until(() => listener.restarts.length === 1 && listener.revisions.length === 5);
    await restoreAs(nats, 1);
    await until(() => listener.states.at(-1) === 'diverged');
    expect(listener.restarts).toEqual([1]);
    expect(listener.revisions).toEqual(upTo(5));
  });
});

describe.each(SERVERS)('deleted messages of a log on the $name server', { timeout: 60_000 }, ({ binary }) => {
  test('are reported as gaps, and all others are read', async () => {
    const nats = await connected(await startNats(binary()));
    await nats.jsm.streams.add({ name: STREAM, subjects: ['registry.models.*'] }); // deletes are allowed
    await fill(nats, 10);
    for (const seq of [1, 4, 5, 8, 10]) await nats.jsm.streams.deleteMessage(STREAM, seq);
    const listener = recorder();
    tailing(nats, listener);
    await until(() => listener.states.at(-1) === 'live');
    expect(listener.revisions).toEqual([2, 3, 6, 7, 9]);
    expect(listener.gaps).toEqual([gap(1, 1), gap(4, 5), gap(8, 8)]);
    await fill(nats, 2);
    await until(() => listener.revisions.length >= 7);
    expect(listener.revisions.slice(-2)).toEqual([11, 12]);
    expect(listener.gaps.slice(3)).toEqual([gap(10, 10)]);
    await until(() => listener.states.at(-1) === 'live');
  });

  test('at the end of the log do not prevent the tail from being live', async () => {
    const nats = await connected(await startNats(binary()));
    await nats.jsm.streams.add({ name: STREAM, subjects: ['registry.models.*'] });
    await fill(nats, 3);
    for (const seq of upTo(3)) await nats.jsm.streams.deleteMessage(STREAM, seq);
    const listener = recorder();
    tailing(nats, listener);
    await until(() => listener.states.at(-1) === 'live');
    await fill(nats, 1);
    await until(() => listener.revisions.length > 0);
    expect(listener.gaps).toEqual([gap(1, 3)]);
  });
});

describe.each(SERVERS)('a tail on the $name server', { timeout: 60_000 }, ({ binary }) => {
  test('reports why its listener failed, and passes the same message again', async () => {
    const { nats } = await startLog(binary());
    const listener = recorder();
    const { message } = listener;
    let broken = true;
    listener.message = (next) => {
      if (broken && next.revision === 2) throw new Error('a bug');
      message(next);
    };
    tailing(nats, listener);
    await appendAll(nats, 'fraud', 3);
    await until(() => listener.whys.length > 1);
    expect(listener.whys[0]).toMatchObject({ message: 'a bug' });
    broken = false;
    await until(() => listener.revisions.length >= 3);
    expect(listener.revisions).toEqual(upTo(3));
  });

  test('calls nothing after it is closed and leaves nothing open, even after many restarts', async () => {
    const { server, nats } = await startLog(binary());
    const before = openIn(nats);
    const listener = recorder();
    const tail = tailLog(nats, listener);
    for (const round of upTo(5)) {
      await appendAll(nats, 'fraud', 1);
      await until(() => listener.revisions.length === round);
      await (round % 2 ? reconnect(nats) : deleteConsumers(nats));
      await until(() => listener.states.at(-1) === 'cut-off');
      await until(() => listener.states.at(-1) === 'live');
    }
    const during = openIn(nats);
    expect(during.listeners).toBeLessThanOrEqual(before.listeners + 2);
    expect(during.subscriptions).toBeLessThanOrEqual(before.subscriptions + 1);
    await tail.close();
    await until(() => openIn(nats).subscriptions === before.subscriptions);
    expect(openIn(nats)).toEqual(before);
    const states = listener.states.length;
    await appendAll(await connected(server), 'churn', 1);
    await reconnect(nats);
    expect(listener.revisions).toHaveLength(5);
    expect(listener.states).toHaveLength(states);
  });

  test('closes at once while the server is down, without a change of state', async () => {
    const { server, nats } = await startLog(binary());
    const listener = await tailedToHead(nats, 1);
    await server.kill();
    await until(() => listener.states.at(-1) === 'cut-off');
    const tail = tailLog(nats, listener);
    const states = listener.states.length;
    const started = performance.now();
    await tail.close();
    // Far below the five seconds of one unanswered request.
    expect(performance.now() - started).toBeLessThan(2_500);
    expect(listener.states).toHaveLength(states);
  });

  test('ends with the connection', async () => {
    const { server } = await startLog(binary());
    const nats = await connected(server);
    const tail = tailLog(nats, recorder());
    await nats.nc.close();
    await tail.close();
  });
});

/** Publishes many events concurrently, without a hash chain and in any order. */
async function fill({ js }: Nats, count: number): Promise<void> {
  const publish = (i: number) => js.publish(subjectOf(`m-${i % 7}`), `event ${i}`);
  for (let i = 0; i < count; i += 500) await Promise.all(upTo(Math.min(500, count - i)).map((n) => publish(i + n)));
}

/** Appends events and reads the log to its head. */
async function tailedToHead(nats: Nats, count: number) {
  const revisions = await appendAll(nats, 'fraud', count);
  const listener = recorder();
  tailing(nats, listener);
  await until(() => listener.revisions.at(-1) === revisions.at(-1) && listener.states.at(-1) === 'live');
  return listener;
}

/** Recreates the stream with a generation, as a restore does. */
async function restoreAs(nats: Nats, generation: number): Promise<void> {
  const { config } = await nats.jsm.streams.info(STREAM);
  const { name, subjects, discard, deny_delete, deny_purge } = config;
  await nats.jsm.streams.delete(STREAM);
  const metadata = { application: 'signalbox', generation: `${generation}` };
  await nats.jsm.streams.add({ name, subjects, discard, deny_delete, deny_purge, metadata });
}

async function deleteConsumers({ jsm }: Nats): Promise<void> {
  for await (const { name } of jsm.consumers.list(STREAM)) await jsm.consumers.delete(STREAM, name);
}

/** Copies and replaces the files of a server; stops it first and starts it again. */
function storeOf(server: TestServer) {
  const folder = dirname(server.process().spawnargs.at(-1)!);
  const store = join(folder, 'jetstream');
  let copies = 0;
  const backUp = async () => {
    await server.kill();
    const copy = join(folder, `copy-${Date.now()}-${copies++}`);
    await cp(store, copy, { recursive: true });
    await server.start();
    return copy;
  };
  /** Replaces the store with a copy. Returns a copy of the replaced one. */
  const replaceWith = async (copy: string) => {
    const old = await backUp();
    await server.kill();
    await rm(store, { recursive: true });
    await cp(copy, store, { recursive: true });
    await server.start();
    return old;
  };
  return { backUp, replaceWith };
}

/** Counts the status iterators and subscriptions that are open in the client. */
function openIn({ nc }: Nats): { listeners: number; subscriptions: number } {
  const { protocol } = nc as unknown as { protocol: { listeners: unknown[]; subscriptions: { size(): number } } };
  return { listeners: protocol.listeners.length, subscriptions: protocol.subscriptions.size() };
}

function gap(first: number, last: number): { first: number; last: number } {
  return { first, last };
}
