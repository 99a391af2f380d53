import { setTimeout as sleep } from 'node:timers/promises';
import { JetStreamApiError } from '@nats-io/jetstream';
import { describe, expect, test } from 'vitest';
import { append } from '../../src/log/append.ts';
import { connectNats } from '../../src/log/connection.ts';
import { subjectOf } from '../../src/log/stream.ts';
import { connected, SERVERS, startNats } from '../support/nats.ts';
import { appendAll, body, startLog, stored, until } from './support.ts';

describe.each(SERVERS)('appending to a single $name server', { timeout: 60_000 }, ({ binary }) => {
  test('stores an event at the next revision of the log, if it follows the last event of its model', async () => {
    const { nats } = await startLog(binary());
    expect(await append(nats, 'fraud', 0, body('a'))).toEqual({ outcome: 'stored', revision: 1 });
    expect(await append(nats, 'churn', 0, body('b'))).toEqual({ outcome: 'stored', revision: 2 });
    expect(await append(nats, 'fraud', 1, body('c'))).toEqual({ outcome: 'stored', revision: 3 });
    expect(await stored(nats)).toEqual(['a', 'b', 'c']);
  });

  test('reports a conflict with the first newer event if the expected revision is old', async () => {
    const { nats } = await startLog(binary());
    await appendAll(nats, 'churn', 1);
    await appendAll(nats, 'fraud', 3);
    expect(await append(nats, 'fraud', 0, body())).toEqual({ outcome: 'conflict', revision: 2 });
    expect(await append(nats, 'fraud', 3, body())).toEqual({ outcome: 'conflict', revision: 4 });
    expect(await stored(nats)).toHaveLength(4);
  });

  test('reports a conflict with a message that was not written by a registry', async () => {
    const { nats } = await startLog(binary());
    await appendAll(nats, 'fraud', 1);
    await nats.js.publish(subjectOf('fraud'), 'anything');
    expect(await append(nats, 'fraud', 1, body())).toEqual({ outcome: 'conflict', revision: 2 });
  });

  test('returns the first revision if the same event is appended again', async () => {
    const { nats } = await startLog(binary());
    await append(nats, 'fraud', 0, body('a'));
    await appendAll(nats, 'fraud', 1);
    expect(await append(nats, 'fraud', 0, body('a'))).toEqual({ outcome: 'stored', revision: 1 });
    expect(await stored(nats)).toHaveLength(2);
  });

  test('stores every event of concurrent writers once', async () => {
    const { server, nats } = await startLog(binary());
    const others = [await connected(server), await connected(server)];
    const bodies = await race([nats, ...others], 12, 5);
    expect((await stored(nats)).toSorted()).toEqual(bodies.toSorted());
  });

  test('recognizes its own event that a paused server stores when it resumes', async () => {
    const { server, nats } = await startLog(binary());
    const pid = server.process().pid!;
    process.kill(pid, 'SIGSTOP');
    const appending = append(nats, 'fraud', 0, body('late'));
    await sleep(3_000); // longer than the publish time-out
    process.kill(pid, 'SIGCONT');
    expect(await appending).toEqual({ outcome: 'stored', revision: 1 });
    await sleep(500);
    expect(await stored(nats)).toEqual(['late']);
  });

  test('reports a conflict if a paused server stores another event when it resumes', async () => {
    const { server, nats } = await startLog(binary());
    const other = await connected(server);
    const pid = server.process().pid!;
    process.kill(pid, 'SIGSTOP');
    const appending = [append(nats, 'fraud', 0, body('a')), append(other, 'fraud', 0, body('b'))];
    await sleep(2_500);
    process.kill(pid, 'SIGCONT');
    const outcomes = (await Promise.all(appending)).map(({ outcome, revision }) => `${outcome} ${revision}`);
    expect(outcomes.toSorted()).toEqual(['conflict 1', 'stored 1']);
    expect(await stored(nats)).toHaveLength(1);
  });

  test('waits for a server that restarts', async () => {
    const { server, nats } = await startLog(binary());
    await appendAll(nats, 'fraud', 1);
    await server.kill();
    const appending = append(nats, 'fraud', 1, body('b'));
    await server.start();
    expect(await appending).toEqual({ outcome: 'stored', revision: 2 });
    expect(await stored(nats)).toHaveLength(2);
  });

  // One test, so that the deadlines pass concurrently.
  test('gives up after its deadline, and reports whether the event may be stored', async () => {
    const paused = await startLog(binary());
    const killed = await startLog(binary());
    const empty = await connected(await startNats(binary())); // no stream
    const { pid } = paused.server.process();
    process.kill(pid!, 'SIGSTOP');
    await killed.server.kill();
    const refusals = [paused.nats, killed.nats, empty].map((nats) =>
      append(nats, 'fraud', 0, body('late')).catch((error: { code: string }) => error.code),
    );
    // A paused server may store the event when it resumes, and the client may resend it to a server that restarts. Only
    // without responders it is certain that nothing was stored.
    expect(await Promise.all(refusals)).toEqual(['outcome-unknown', 'outcome-unknown', 'log-unavailable']);

    process.kill(pid!, 'SIGCONT');
    await until(async () => (await stored(paused.nats)).length > 0);
    await sleep(500);
    expect(await stored(paused.nats)).toEqual(['late']);
  });

  test('waits for another write to the subject that is in flight', async () => {
    const { nats } = await startLog(binary());
    const answers = [10164, 10164];
    const publish: typeof nats.js.publish = (...args) => {
      const err_code = answers.shift();
      if (err_code === undefined) return nats.js.publish(...args);
      throw new JetStreamApiError({ code: 400, err_code, description: 'wrong last sequence' });
    };
    const busy = { ...nats, js: { publish } as typeof nats.js };
    expect(await append(busy, 'fraud', 0, body('a'))).toEqual({ outcome: 'stored', revision: 1 });
    answers.push(10164);
    expect(await append(busy, 'fraud', 0, body('b'))).toEqual({ outcome: 'conflict', revision: 1 });
  });

  test('stores nothing on a closed connection', async () => {
    const { server, nats } = await startLog(binary());
    const closed = await connectNats({ servers: [server.url] }, 'test');
    await closed.nc.close();
    await expect(append(closed, 'fraud', 0, body())).rejects.toMatchObject({ code: 'log-unavailable' });
    expect(await stored(nats)).toEqual([]);
  });

  test.each([512 * 1024, 2 * 1024 * 1024])('refuses an event of %i bytes as too large', async (size) => {
    const { nats } = await startLog(binary());
    await expect(append(nats, 'fraud', 0, Buffer.alloc(size))).rejects.toMatchObject({ code: 'too-large' });
    await appendAll(nats, 'fraud', 1);
  });
});

/** Runs writers of one model, each until it has stored `count` events. After a conflict they retry. */
async function race(connections: Awaited<ReturnType<typeof connected>>[], writers: number, count: number) {
  const bodies: string[] = [];
  const write = async (nats: (typeof connections)[number], writer: number) => {
    let expected = 0;
    for (let i = 0; i < count; ) {
      const text = `${writer}.${i}`;
      const { outcome, revision } = await append(nats, 'fraud', expected, body(text));
      expected = revision;
      if (outcome === 'conflict') continue;
      bodies.push(text);
      i++;
    }
  };
  await Promise.all(Array.from({ length: writers }, (_, i) => write(connections[i % connections.length]!, i)));
  return bodies;
}
