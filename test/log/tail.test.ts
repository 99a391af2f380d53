import { cp, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Nats } from '../../src/log/connection.ts';
import { ensureStream, STREAM, subjectOf } from '../../src/log/stream.ts';
import { startTail } from '../../src/log/tail.ts';
import { connected, SERVERS, startNats, type TestServer } from '../support/nats.ts';
import { appendAll, back, reconnect, recorder, startLog, stored, tailing, until, upTo } from './support.ts';

describe.each(SERVERS)('following a log on the $name server', { timeout: 60_000 }, ({ binary }) => {
  test('is live on an empty log, and reads what comes', async () => {
    const { nats } = await startLog(binary());
    const follower = recorder();
    tailing(nats, follower);
    await until(() => follower.states.length > 0);
    expect(follower.states).toEqual(['live']);
    await appendAll(nats, 'fraud', 3);
    await until(() => follower.revisions.length >= 3);
    expect(follower.bodies).toEqual(await stored(nats));
    expect(follower.states).toEqual(['live']);
  });

  test('catches up from its position and then is live', async () => {
    const { nats } = await startLog(binary());
    await fill(nats, 5_000);
    const follower = recorder();
    const first = startTail(nats, follower);
    await until(() => follower.states.includes('live'));
    expect(follower.states).toEqual(['catching-up', 'live']);
    expect(follower.revisions).toEqual(upTo(5_000));
    await first.close();
    await appendAll(nats, 'fraud', 3);
    tailing(nats, follower);
    await until(() => follower.revisions.length >= 5_003);
    expect(follower.revisions).toEqual(upTo(5_003));
    expect(follower.gaps).toEqual([]);
  });

  test('misses nothing and repeats nothing when the server is killed and comes back', async () => {
    const { server, nats } = await startLog(binary());
    const follower = recorder();
    tailing(nats, follower);
    for (const round of upTo(3)) {
      await appendAll(nats, 'fraud', 10);
      await server.kill();
      await server.start();
      await back(nats);
      await appendAll(nats, `after-${round}`, 1);
    }
    await until(() => follower.revisions.length >= 33);
    expect(follower.bodies).toEqual(await stored(nats));
    expect(follower.revisions).toEqual(upTo(33));
    expect(follower.gaps).toEqual([]);
    expect(follower.states).not.toContain('diverged');
    await until(() => follower.states.at(-1) === 'live');
  });

  test('goes on after a reconnect', async () => {
    const { server, nats } = await startLog(binary());
    const writer = await connected(server);
    const follower = recorder();
    tailing(nats, follower);
    for (const _ of upTo(3)) {
      await appendAll(writer, 'fraud', 2);
      await reconnect(nats);
    }
    await appendAll(writer, 'fraud', 2);
    await until(() => follower.revisions.length >= 8);
    expect(follower.bodies).toEqual(await stored(nats));
  });

  test('goes on after its consumer was deleted', async () => {
    const { nats } = await startLog(binary());
    const follower = recorder();
    tailing(nats, follower);
    await appendAll(nats, 'fraud', 2);
    await until(() => follower.revisions.length >= 2);
    await deleteConsumers(nats);
    await appendAll(nats, 'fraud', 2);
    await until(() => follower.revisions.length >= 4);
    expect(follower.bodies).toEqual(await stored(nats));
  });

  test('survives a server that is paused for a while', async () => {
    const { server, nats } = await startLog(binary());
    const follower = recorder();
    tailing(nats, follower);
    await until(() => follower.states.includes('live'));
    process.kill(server.process().pid!, 'SIGSTOP');
    await until(() => follower.states.at(-1) === 'cut-off');
    process.kill(server.process().pid!, 'SIGCONT');
    await appendAll(nats, 'fraud', 2);
    await until(() => follower.revisions.length >= 2);
    expect(follower.bodies).toEqual(await stored(nats));
  });
});

describe.each(SERVERS)('another log in its place on the $name server', { timeout: 60_000 }, ({ binary }) => {
  test('a shorter one is diverged, and stays so when it grows past the follower', async () => {
    const { nats } = await startLog(binary());
    const follower = await followed(nats, 5);
    const seen = [...follower.bodies];
    await nats.jsm.streams.delete(STREAM);
    await ensureStream(nats);
    await until(() => follower.states.at(-1) === 'diverged');
    await appendAll(nats, 'fraud', 8);
    await reconnect(nats);
    await until(() => follower.states.slice(-2).join() === 'cut-off,diverged');
    expect(follower.bodies).toEqual(seen);
    expect(follower.restarts).toEqual([]);
  });

  test('an older copy of the store is diverged; with the right store it goes on', async () => {
    const { server, nats } = await startLog(binary());
    await appendAll(nats, 'fraud', 20);
    const backup = await storeOf(server).backUp();
    await back(nats);
    const follower = await followed(nats, 5);
    const right = await storeOf(server).replaceWith(backup);
    await until(() => follower.states.at(-1) === 'diverged');
    await appendAll(nats, 'fraud', 10);
    await reconnect(nats);
    await until(() => follower.states.slice(-2).join() === 'cut-off,diverged');
    expect(follower.revisions).toEqual(upTo(25));

    await storeOf(server).replaceWith(right);
    await until(() => follower.states.at(-1) === 'live');
    await appendAll(nats, 'churn', 1);
    await until(() => follower.revisions.length > 25);
    expect(follower.bodies).toEqual(await stored(nats));
  });

  test('of a higher generation, it is read from the start', async () => {
    const { nats } = await startLog(binary());
    const follower = await followed(nats, 5);
    await restoreAs(nats, 1);
    await appendAll(nats, 'fraud', 3);
    await until(() => follower.revisions.length === 3);
    expect(follower.restarts).toEqual([1]);
    expect(follower.bodies).toEqual(await stored(nats));
    expect(follower.states).not.toContain('diverged');

    await restoreAs(nats, 1); // the same generation again: nobody said that this log may go
    await until(() => follower.states.at(-1) === 'diverged');
    expect(follower.restarts).toEqual([1]);
  });

  test('a generation that was raised under the same content counts: the next loss is diverged', async () => {
    const { nats } = await startLog(binary());
    const follower = await followed(nats, 5);
    const { config } = await nats.jsm.streams.info(STREAM);
    const metadata = { application: 'signalbox', generation: '1' };
    await nats.jsm.streams.update(STREAM, { ...config, metadata });
    await reconnect(nats);
    await until(() => follower.restarts.length === 1 && follower.revisions.length === 5);
    await restoreAs(nats, 1);
    await until(() => follower.states.at(-1) === 'diverged');
    expect(follower.restarts).toEqual([1]);
    expect(follower.revisions).toEqual(upTo(5));
  });
});

describe.each(SERVERS)('messages taken out of the log on the $name server', { timeout: 60_000 }, ({ binary }) => {
  test('are reported, wherever they were, and the rest is read', async () => {
    const nats = await connected(await startNats(binary()));
    await nats.jsm.streams.add({ name: STREAM, subjects: ['registry.models.*'] }); // deletes are allowed
    await fill(nats, 10);
    for (const seq of [1, 4, 5, 8, 10]) await nats.jsm.streams.deleteMessage(STREAM, seq);
    const follower = recorder();
    tailing(nats, follower);
    await until(() => follower.states.at(-1) === 'live');
    expect(follower.revisions).toEqual([2, 3, 6, 7, 9]);
    expect(follower.gaps).toEqual([gap(1, 1), gap(4, 5), gap(8, 8)]);
    await fill(nats, 2);
    await until(() => follower.revisions.length >= 7);
    expect(follower.revisions.slice(-2)).toEqual([11, 12]);
    expect(follower.gaps.slice(3)).toEqual([gap(10, 10)]);
    await until(() => follower.states.at(-1) === 'live');
  });

  test('at the very end do not keep it from being live', async () => {
    const nats = await connected(await startNats(binary()));
    await nats.jsm.streams.add({ name: STREAM, subjects: ['registry.models.*'] });
    await fill(nats, 3);
    for (const seq of upTo(3)) await nats.jsm.streams.deleteMessage(STREAM, seq);
    const follower = recorder();
    tailing(nats, follower);
    await until(() => follower.states.at(-1) === 'live');
    await fill(nats, 1);
    await until(() => follower.revisions.length > 0);
    expect(follower.gaps).toEqual([gap(1, 3)]);
  });
});

describe.each(SERVERS)('a follower of the $name server', { timeout: 60_000 }, ({ binary }) => {
  test('that fails is told why, and offered the same message again', async () => {
    const { nats } = await startLog(binary());
    const follower = recorder();
    const { message } = follower;
    let broken = true;
    follower.message = (next) => {
      if (broken && next.revision === 2) throw new Error('a bug');
      message(next);
    };
    tailing(nats, follower);
    await appendAll(nats, 'fraud', 3);
    await until(() => follower.whys.length > 1);
    expect(follower.whys[0]).toMatchObject({ message: 'a bug' });
    broken = false;
    await until(() => follower.revisions.length >= 3);
    expect(follower.revisions).toEqual(upTo(3));
  });

  test('that is closed hears nothing more and leaves nothing open, however often it started over', async () => {
    const { server, nats } = await startLog(binary());
    const before = held(nats);
    const follower = recorder();
    const tail = startTail(nats, follower);
    for (const round of upTo(5)) {
      await appendAll(nats, 'fraud', 1);
      await until(() => follower.revisions.length === round);
      await (round % 2 ? reconnect(nats) : deleteConsumers(nats));
      await until(() => follower.states.at(-1) === 'cut-off');
      await until(() => follower.states.at(-1) === 'live');
    }
    const during = held(nats);
    expect(during.listeners).toBeLessThanOrEqual(before.listeners + 2);
    expect(during.subscriptions).toBeLessThanOrEqual(before.subscriptions + 1);
    await tail.close();
    await until(() => held(nats).subscriptions === before.subscriptions);
    expect(held(nats)).toEqual(before);
    const states = follower.states.length;
    await appendAll(await connected(server), 'churn', 1);
    await reconnect(nats);
    expect(follower.revisions).toHaveLength(5);
    expect(follower.states).toHaveLength(states);
  });

  test('is closed at once while the server does not answer, and says nothing about it', async () => {
    const { server, nats } = await startLog(binary());
    const follower = await followed(nats, 1);
    await server.kill();
    await until(() => follower.states.at(-1) === 'cut-off');
    const tail = startTail(nats, follower);
    const states = follower.states.length;
    const started = performance.now();
    await tail.close();
    // Far below the five seconds of one unanswered request.
    expect(performance.now() - started).toBeLessThan(2_500);
    expect(follower.states).toHaveLength(states);
  });

  test('ends with the connection', async () => {
    const { server } = await startLog(binary());
    const nats = await connected(server);
    const tail = startTail(nats, recorder());
    await nats.nc.close();
    await tail.close();
  });
});

/** Events with no regard to the chain or to order within the model: many at once. */
async function fill({ js }: Nats, count: number): Promise<void> {
  const publish = (i: number) => js.publish(subjectOf(`m-${i % 7}`), `event ${i}`);
  for (let i = 0; i < count; i += 500) await Promise.all(upTo(Math.min(500, count - i)).map((n) => publish(i + n)));
}

/** Appends events and follows the log to its head. */
async function followed(nats: Nats, count: number) {
  const revisions = await appendAll(nats, 'fraud', count);
  const follower = recorder();
  tailing(nats, follower);
  await until(() => follower.revisions.at(-1) === revisions.at(-1) && follower.states.at(-1) === 'live');
  return follower;
}

/** What a restore does: the stream made anew, under a generation. */
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

/** A server's files, while it is stopped. */
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
  /** Puts a copy in the store's place and returns a copy of what was there. */
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

/** What a tail holds of the client: status iterators and subscriptions. */
function held({ nc }: Nats): { listeners: number; subscriptions: number } {
  const { protocol } = nc as unknown as { protocol: { listeners: unknown[]; subscriptions: { size(): number } } };
  return { listeners: protocol.listeners.length, subscriptions: protocol.subscriptions.size() };
}

function gap(first: number, last: number): { first: number; last: number } {
  return { first, last };
}
