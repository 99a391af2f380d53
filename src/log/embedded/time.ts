import { setTimeout as sleep } from 'node:timers/promises';

/** Waits; an aborted wait ends early instead of failing, because whoever aborts looks at the signal next. */
export async function delay(ms: number, signal?: AbortSignal): Promise<void> {
  await sleep(ms, undefined, signal ? { signal } : {}).catch(() => undefined);
}

/** Waiting times that double from `first` to `most`. */
export function backOff(first: number, most: number): { next(): number; reset(): void } {
  let wait = first;
  return {
    next() {
      const now = wait;
      wait = Math.min(wait * 2, most);
      return now;
    },
    reset() {
      wait = first;
    },
  };
}
