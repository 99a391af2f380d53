import fc from 'fast-check';
import { expect, it } from 'vitest';
import { createLimiter } from '../../src/structures/limiter.ts';

it('allows each name its quota in each window, independent of other names', () => {
  const step = fc.record({ name: fc.constantFrom('a', 'b'), after: fc.integer({ min: 0, max: 4_000 }) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), fc.integer({ min: 1, max: 5 }), (steps, quota) => {
      let now = 0;
      const limiter = createLimiter({ quota, window: 10 }, () => now);
      /** The times of each name's requests in its current window. */
      const windows = new Map<string, number[]>();
      for (const { name, after } of steps) {
        now += after;
        const before = windows.get(name) ?? [];
        const window = before.length > 0 && now < before[0]! + 10_000 ? [...before, now] : [now];
        windows.set(name, window);
        expect(limiter.take(name)).toEqual({
          allowed: window.length <= quota,
          remaining: Math.max(0, quota - window.length),
          reset: Math.ceil((window[0]! + 10_000 - now) / 1000),
        });
      }
    }),
  );
});

it('accepts unused amounts back', () => {
  const limiter = createLimiter({ quota: 1, window: 10 }, () => 0);
  limiter.giveBack('a');
  for (let i = 0; i < 3; i++) {
    expect(limiter.take('a').allowed).toBe(true);
    limiter.giveBack('a');
  }
  expect([limiter.take('a').allowed, limiter.take('a').allowed]).toEqual([true, false]);
});

it('stores a bounded number of names, the newest ones', () => {
  const limiter = createLimiter({ quota: 1, window: 10 }, () => 0);
  for (let i = 0; i <= 100_000; i++) limiter.take(`name-${i}`);
  expect(limiter.take('name-0').allowed).toBe(true);
  expect(limiter.take('name-100000').allowed).toBe(false);
});

it('takes amounts, and returns them', () => {
  let now = 0;
  const limiter = createLimiter({ quota: 10, window: 10 }, () => now);
  expect(limiter.take('a', 7)).toEqual({ allowed: true, remaining: 3, reset: 10 });
  now = 4_000;
  expect(limiter.take('a', 4)).toEqual({ allowed: false, remaining: 0, reset: 6 });
  limiter.giveBack('a', 4);
  expect(limiter.take('a', 3)).toEqual({ allowed: true, remaining: 0, reset: 6 });
  limiter.giveBack('a', 100);
  expect(limiter.take('a', 10)).toEqual({ allowed: true, remaining: 0, reset: 6 });
});
