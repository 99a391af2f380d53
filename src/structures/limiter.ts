import { BoundedMap } from './bounded-map.ts';

/** The result of taking from a quota. */
export interface Taken {
  allowed: boolean;
  remaining: number;
  /** Seconds until the whole quota is available again. */
  reset: number;
}

/** A quota per name and time window. */
export interface Limiter {
  quota: number;
  /** Seconds. */
  window: number;
  /** Takes `amount` (default: 1) from the quota of a name, and returns whether that much was left. */
  take(name: string, amount?: number): Taken;
  /** Returns an amount that was taken but not used. */
  giveBack(name: string, amount?: number): void;
}

const MAX_NAMES = 100_000;

/**
 * Counts in fixed windows; the window of a name starts with its first request. It is synchronous, as every request needs
 * it, and stores at most 100,000 names, as callers can choose them. rate-limiter-flexible offers neither.
 *
 * @param now the current time in ms
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
        counted.delete(name); // so that the new entry is the newest
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
