import { expect, it } from 'vitest';
import { inParallel } from '../../src/structures/in-parallel.ts';

const soon = () => new Promise(setImmediate);

it('maps items in their order, and works on no more at once than it may', async () => {
  let running = 0;
  let most = 0;
  const results = await inParallel([5, 1, 4, 0, 2, 3], 3, async (item) => {
    most = Math.max(most, ++running);
    for (let i = 0; i < item; i++) await soon();
    running--;
    return item * 2;
  });
  expect([results, most]).toEqual([[10, 2, 8, 0, 4, 6], 3]);
  expect(await inParallel([], 3, async () => 1)).toEqual([]);
});

it('begins nothing after a failure, and throws it when what was begun is done', async () => {
  const begun: number[] = [];
  const done: number[] = [];
  const failing = inParallel([0, 1, 2, 3, 4], 2, async (item) => {
    begun.push(item);
    if (item === 1) throw new Error('the second failed');
    for (let i = 0; i < 5; i++) await soon();
    done.push(item);
  });
  await expect(failing).rejects.toThrow('the second failed');
  expect([begun, done]).toEqual([[0, 1], [0]]);
});
