import { setTimeout as sleep } from 'node:timers/promises';

/** Exponential back-off with full jitter, so that clients of a failed server do not return all at once. */
export interface Backoff {
  /** Resolves after the next pause, or at once when the signal aborts. */
  pause(signal: AbortSignal): Promise<void>;
  reset(): void;
}

export function createBackoff(firstMs: number, limitMs: number, random: () => number = Math.random): Backoff {
  let next = firstMs;
  return {
    async pause(signal) {
      const ms = next * random();
      next = Math.min(next * 2, limitMs);
      await sleep(ms, undefined, { signal }).catch(() => {});
    },
    reset() {
      next = firstMs;
    },
  };
}
