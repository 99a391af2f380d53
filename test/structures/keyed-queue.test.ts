import { expect, test } from 'vitest';
import { keyedQueue } from '../../src/structures/keyed-queue.ts';

const turn = () => new Promise((resolve) => setImmediate(resolve));

test('runs tasks with the same key in order of arrival, one at a time', async () => {
  const enqueue = keyedQueue();
  const steps: string[] = [];
  const task = (name: string) => async () => {
    steps.push(`${name} begins`);
    await turn();
    steps.push(`${name} ends`);
    return name;
  };
  const results = await Promise.all(['a', 'b', 'c'].map((name) => enqueue('fraud', task(name))));
  expect(results).toEqual(['a', 'b', 'c']);
  expect(steps).toEqual(['a begins', 'a ends', 'b begins', 'b ends', 'c begins', 'c ends']);
});

test('runs tasks with different keys concurrently', async () => {
  const enqueue = keyedQueue();
  const held = Promise.withResolvers<string>();
  const first = enqueue('fraud', () => held.promise);
  await expect(enqueue('churn', async () => 'done')).resolves.toBe('done');
  await expect(enqueue('__proto__', async () => 'done')).resolves.toBe('done');
  held.resolve('late');
  await expect(first).resolves.toBe('late');
});

test('a task that throws or rejects does not affect others', async () => {
  const enqueue = keyedQueue();
  const later = enqueue('fraud', () => Promise.reject(new Error('later')));
  const atOnce = enqueue('fraud', () => {
    throw new Error('at once');
  });
  const next = enqueue('fraud', async () => 'done');
  await expect(later).rejects.toThrow('later');
  await expect(atOnce).rejects.toThrow('at once');
  await expect(next).resolves.toBe('done');
});

test('at most a thousand tasks wait for a key; another one is accepted when one has finished', async () => {
  const enqueue = keyedQueue();
  const held = Promise.withResolvers<void>();
  let ran = 0;
  const waiting = Array.from({ length: 1000 }, () => enqueue('fraud', () => held.promise.then(() => ran++)));
  await expect(enqueue('fraud', async () => ran++)).rejects.toMatchObject({ code: 'conflict' });
  await expect(enqueue('churn', async () => 'done')).resolves.toBe('done');
  held.resolve();
  await Promise.all(waiting);
  await expect(enqueue('fraud', async () => 'done')).resolves.toBe('done');
  expect(ran).toBe(1000);
});
