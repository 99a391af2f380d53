import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { attempted } from '../../../src/artifacts/stores/attempts.ts';

const never = new AbortController().signal;
const always = () => true;

/** A request that fails some times. */
function failing(times: number) {
  const made = { count: 0 };
  const request = async () => {
    if (++made.count <= times) throw new Error(`failure ${made.count}`);
    return 'answer';
  };
  return { made, request };
}

it('makes a request again while that may help, at most three times', async () => {
  const [some, all] = [failing(2), failing(10)];
  const refused = expect(attempted(60_000, never, always, all.request)).rejects.toThrow('failure 4');
  expect(await attempted(60_000, never, always, some.request)).toBe('answer');
  await refused;
  expect([some.made.count, all.made.count]).toEqual([3, 4]);
});

it('makes a request once if another attempt would not help', async () => {
  const { made, request } = failing(1);
  await expect(attempted(60_000, never, () => false, request)).rejects.toThrow('failure 1');
  expect(made.count).toBe(1);
});

it('ends an attempt that takes too long, and makes another one', async () => {
  let attempts = 0;
  const request = async (limited: AbortSignal) => {
    if (++attempts === 1) await sleep(600_000, null, { signal: limited });
    return attempts;
  };
  expect(await attempted(50, never, () => false, request)).toBe(2);
});

it('says that no answer came', async () => {
  const request = (limited: AbortSignal) => sleep(600_000, null, { signal: limited });
  await expect(attempted(5, never, () => false, request)).rejects.toThrow('no answer came within 5 ms');
});

it('does not limit an answer that is read later', async () => {
  const limited = await attempted(20, never, always, async (signal) => signal);
  await sleep(100);
  expect(limited.aborted).toBe(false);
});

it('ends when the signal is aborted, during an attempt and between two', async () => {
  const during = new AbortController();
  const hanging = attempted(60_000, during.signal, always, (limited) => sleep(600_000, null, { signal: limited }));
  const ended = expect(hanging).rejects.toThrow('stopped');
  during.abort(new Error('stopped'));
  await ended;

  const between = new AbortController();
  const { made, request } = failing(10);
  const pausing = expect(attempted(60_000, between.signal, always, request)).rejects.toThrow();
  await sleep(10);
  between.abort();
  await pausing;
  expect(made.count).toBe(1);
});
