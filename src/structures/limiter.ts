import { BoundedMap } from './bounded-map.ts';

/** What is left of a quota. */
export interface Taken {
  allowed: boolean;
  remaining: number;
  /** Seconds until the whole quota is there again. */
  reset: number;
}

/** So much of something in each window of time, by name. */
export interface Limiter {
  quota: number;
  /** Seconds. */
  window: number;
  /** Takes from the name's quota, one by default, and tells whether that much was left. */
  take(name: string, amount?: number): Taken;
  /** For what was taken, and then not used. */
  giveBack(name: string, amount?: number): void;
}

const MAX_NAMES = 100_000;

/**
 * Counts in fixed windows; a name's window begins with its first. It answers at once, as every request asks it, and it
 * remembers no more than 100,000 names, which whoever calls may choose: rate-limiter-flexible does neither.
 *
 * @param now milliseconds
 * @example createLimiter({ quota: 60_000, window: 60 }, () => now).take('key:ci').allowed
 */
export function createLimiter({ quota, window }: { quota: number; window: number }, now: () => number): Limiter {
  const counted = new BoundedMap<string, { count: number; until: number }>(MAX_NAMES);
  return {
    quota,
    window,
    take(name, amount = 1) {
      const at = now();
      let entry = counted.get(name);
      if (!entry || entry.until <= at) {
        entry = { count: 0, until: at + window * 1000 };
        counted.delete(name); // so that it counts as the newest
        counted.set(name, entry);
      }
      entry.count += amount;
      const reset = Math.ceil((entry.until - at) / 1000);
      return { allowed: entry.count <= quota, remaining: Math.max(0, quota - entry.count), reset };
    },
    giveBack(name, amount = 1) {
      const entry = counted.get(name);
      if (entry) entry.count = Math.max(0, entry.count - amount);
    },
  };
}
