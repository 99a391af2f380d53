import { expect, it } from 'vitest';
import { progressLine } from '../../src/cli/helpers/output.ts';
import { createRate } from '../../src/cli/helpers/rate.ts';

/** A rate of counts at these times, in ms. */
function ratesOf(samples: [at: number, count: number][]): (number | null)[] {
  let now = 0;
  const rate = createRate(() => now);
  return samples.map(([at, count]) => {
    now = at;
    return rate(count);
  });
}

it('the rate is known after a second, and is that of the last five', () => {
  const even: [number, number][] = [
    [0, 0],
    [500, 50],
    [1_000, 100],
    [2_000, 200],
  ];
  expect(ratesOf(even)).toEqual([null, null, 100, 100]);
  const slower: [number, number][] = [10_000, 11_000, 12_000, 13_000, 14_000, 15_000].map((at) => [
    at,
    200 + at / 1_000,
  ]);
  expect(ratesOf([...even, ...slower]).at(-1)).toBe(1);
});

it('the rate begins again after a cut', () => {
  const [, before, after, later, again] = ratesOf([
    [0, 0],
    [1_000, 1_000],
    [1_500, 300],
    [2_000, 400],
    [2_500, 500],
  ]);
  expect([before, after, later, again]).toEqual([1_000, null, null, 200]);
});

const MB = 1e6;

it.each([
  [0, null, 'Sending ░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░ 0 % of 200.0 MB'],
  [100 * MB, 12.5 * MB, 'Sending ███████████████░░░░░░░░░░░░░░░ 50 % of 200.0 MB, 12.5 MB/s, 8 s left'],
  [20 * MB, 1 * MB, 'Sending ███░░░░░░░░░░░░░░░░░░░░░░░░░░░ 10 % of 200.0 MB, 1.0 MB/s, 3 min left'],
  [20 * MB, 0.025 * MB, 'Sending ███░░░░░░░░░░░░░░░░░░░░░░░░░░░ 10 % of 200.0 MB, 0.0 MB/s, 2 h 0 min left'],
  [20 * MB, 0, 'Sending ███░░░░░░░░░░░░░░░░░░░░░░░░░░░ 10 % of 200.0 MB'],
  [200 * MB, 9 * MB, 'Sending ██████████████████████████████ 100 % of 200.0 MB'],
])('the bar after %d bytes at %s a second', (done, pace, line) => {
  expect(progressLine('Sending', done, 200 * MB, '200.0 MB', pace)).toBe(line);
});
