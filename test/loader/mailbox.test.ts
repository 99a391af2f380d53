import { describe, expect, it } from 'vitest';
import { createMailbox } from '../../src/loader/mailbox.ts';

const turn = () => new Promise((resolve) => setImmediate(resolve));

describe('a mailbox', () => {
  it('yields items, and only the newest if its reader was busy', async () => {
    const box = createMailbox<number>();
    const stop = new AbortController();
    const taken: number[] = [];
    const busy: PromiseWithResolvers<void>[] = [];
    const taking = (async () => {
      for await (const item of box.take(stop.signal)) {
        taken.push(item);
        busy.push(Promise.withResolvers());
        await busy.at(-1)!.promise;
      }
    })();
    box.put(1);
    await turn();
    for (const item of [2, 3, 4]) box.put(item);
    busy[0]!.resolve();
    await turn();
    expect(taken).toEqual([1, 4]);
    busy[1]!.resolve();
    await turn();
    box.put(5);
    await turn();
    expect(taken).toEqual([1, 4, 5]);
    busy[2]!.resolve();
    stop.abort();
    await taking;
  });

  it('yields an item that was put in before the first read, also undefined', async () => {
    const box = createMailbox<undefined>();
    box.put(undefined);
    const { done, value } = await box.take(new AbortController().signal).next();
    expect([done, value]).toEqual([false, undefined]);
  });

  it('ends when the signal aborts, and yields nothing after that', async () => {
    const box = createMailbox<number>();
    const stop = new AbortController();
    const waiting = box.take(stop.signal).next();
    stop.abort();
    box.put(1);
    expect(await waiting).toMatchObject({ done: true });
    expect(await box.take(stop.signal).next()).toMatchObject({ done: true });
  });
});
