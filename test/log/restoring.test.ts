import { describe, expect, onTestFinished, test } from 'vitest';
import { tailModel } from '../../src/log/model-tail.ts';
import { beginRestore, endRestore } from '../../src/log/restoring.ts';
import { ensureStream, readHead } from '../../src/log/stream.ts';
import { connected, SERVERS, startNats } from '../support/nats.ts';
import { appendAll, recorder, startLog, tailing, until } from './support.ts';

describe.each(SERVERS)('a restore on the $name server', { timeout: 60_000 }, ({ binary }) => {
  test('is marked from its start to its end, and refused if the log is not empty', async () => {
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

  test('starts in an empty stream that a registry created', async () => {
    const { nats } = await startLog(binary());
    await beginRestore(nats);
    expect(await readHead(nats)).toMatchObject({ revision: 0, restoring: true });
  });

  test('is read only after it has ended', async () => {
    const nats = await connected(await startNats(binary()));
    await beginRestore(nats);
    await appendAll(nats, 'fraud', 3);
    const listener = recorder();
    tailing(nats, listener);
    const revisions: number[] = [];
    const states: string[] = [];
    const tail = tailModel(nats, 'fraud', {
      position: () => null,
      last: (message) => revisions.push(message?.revision ?? 0),
      state: (state) => states.push(state),
    });
    onTestFinished(() => tail.close());
    await until(() => listener.states.includes('diverged') && states.includes('diverged'));
    expect([listener.revisions, revisions]).toEqual([[], []]);
    await endRestore(nats, 1);
    await until(() => listener.revisions.length === 3 && revisions.at(-1) === 3);
    expect(listener.restarts).toEqual([1]);
  });
});
