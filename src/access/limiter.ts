import { BoundedMap } from '../domain/bounded-map.ts';

/** What is left of a quota after one was taken. */
export interface Taken {
  allowed: boolean;
  remaining: number;
  /** Seconds until the whole quota is there again. */
  reset: number;
}

/** So many of something in each window of time, by name. */
export interface Limiter {
  quota: number;
  /** Seconds. */
  window: number;
  take(name: string): Taken;
}

const MAX_NAMES = 100_000;

/**
 * Counts in fixed windows; a name's window begins with its first. It answers at once, as every request asks it, and it
 * remembers no more than 100,000 names, which whoever calls may choose: rate-limiter-flexible does neither.
 */
export function createLimiter({ quota, window }: { quota: number; window: number }, now = Date.now): Limiter {
  const counted = new BoundedMap<string, { count: number; until: number }>(MAX_NAMES);
  return {
    quota,
    window,
    take(name) {
      const at = now();
      let entry = counted.get(name);
      if (!entry || entry.until <= at) {
        entry = { count: 0, until: at + window * 1000 };
        counted.delete(name); // so that it counts as the newest
        counted.set(name, entry);
      }
      entry.count++;
      const reset = Math.ceil((entry.until - at) / 1000);
      return { allowed: entry.count <= quota, remaining: Math.max(0, quota - entry.count), reset };
    },
  };
}
