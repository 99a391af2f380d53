import { setTimeout as sleep } from 'node:timers/promises';

/** Creates an exponential back-off with full jitter, so that clients of a failed server do not return all at once. */
export function createBackoff(firstMs: number, limitMs: number, random: () => number = Math.random) {
  let next = firstMs;
  return {
    /** Resolves after the next pause, or at once when the signal aborts. */
    async pause(signal: AbortSignal): Promise<void> {
      const ms = next * random();
      next = Math.min(next * 2, limitMs);
      await sleep(ms, undefined, { signal }).catch(() => {});
    },
    reset(): void {
      next = firstMs;
    },
  };
}
