import { describe, expect, onTestFinished, test } from 'vitest';
import { followModel } from '../../src/log/model-tail.ts';
import { beginRestore, endRestore } from '../../src/log/restoring.ts';
import { ensureStream, readHead } from '../../src/log/stream.ts';
import { connected, SERVERS, startNats } from '../support/nats.ts';
import { appendAll, recorder, startLog, tailing, until } from './support.ts';

describe.each(SERVERS)('a restore on the $name server', { timeout: 60_000 }, ({ binary }) => {
  test('is marked from its beginning to its end, whoever made the stream', async () => {
    const nats = await connected(await startNats(binary()));
    expect(await beginRestore(nats)).toEqual({ revision: 0, generation: 0, restoring: true });
    await expect(ensureStream(nats)).rejects.toThrow('run signalbox restore again');
    await appendAll(nats, 'fraud', 2);
    expect(await beginRestore(nats)).toEqual({ revision: 2, generation: 0, restoring: true });
    await endRestore(nats, 3);
    expect(await readHead(nats)).toEqual({ revision: 2, generation: 3, restoring: false });
    await ensureStream(nats);
    await expect(beginRestore(nats)).rejects.toMatchObject({ code: 'conflict' });
    expect(await readHead(nats)).toEqual({ revision: 2, generation: 3, restoring: false });
  });

  test('begins in an empty stream that a registry made', async () => {
    const { nats } = await startLog(binary());
    await beginRestore(nats);
    expect(await readHead(nats)).toMatchObject({ revision: 0, restoring: true });
  });

  test('is followed when it has ended', async () => {
    const nats = await connected(await startNats(binary()));
    await beginRestore(nats);
    await appendAll(nats, 'fraud', 3);
    const follower = recorder();
    tailing(nats, follower);
    const told: number[] = [];
    const states: string[] = [];
    const tail = followModel(nats, 'fraud', {
      position: () => null,
      last: (message) => told.push(message?.revision ?? 0),
      state: (state) => states.push(state),
    });
    onTestFinished(() => tail.close());
    await until(() => follower.states.includes('diverged') && states.includes('diverged'));
    expect([follower.revisions, told]).toEqual([[], []]);
    await endRestore(nats, 1);
    await until(() => follower.revisions.length === 3 && told.at(-1) === 3);
    expect(follower.restarts).toEqual([1]);
  });
});
