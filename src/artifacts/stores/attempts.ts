import { setTimeout as sleep } from 'node:timers/promises';

const ATTEMPTS = 4;
const PAUSE_MS = 200;

/** The longest time in ms of one attempt: of a short request, and of one that sends the bytes of a part. */
export const ATTEMPT_MS = { answer: 10_000, part: 100_000 };

/**
 * Makes a request, and makes it again if it takes longer than `ms` or `mayHelp` says so. An attempt that has resolved is not
 * limited any more, so its answer may be read for longer.
 *
 * @param mayHelp returns whether another attempt may have another outcome than this error
 */
export async function attempted<T>(
  ms: number,
  signal: AbortSignal,
  mayHelp: (error: unknown) => boolean,
  request: (limited: AbortSignal) => Promise<T>,
): Promise<T> {
  for (let failures = 1; ; failures++) {
    const limit = new AbortController();
    const timer = setTimeout(() => limit.abort(new Error(`no answer came within ${ms} ms`)), ms);
    try {
      return await request(AbortSignal.any([signal, limit.signal]));
    } catch (error) {
      signal.throwIfAborted();
      const { aborted: isLate, reason } = limit.signal;
      if (failures === ATTEMPTS || !(isLate || mayHelp(error))) throw isLate ? reason : error;
    } finally {
      clearTimeout(timer);
    }
    // Of several writers that a storage slowed down, each waits for another time.
    await sleep(PAUSE_MS * 2 ** failures * (0.5 + Math.random()), null, { signal });
  }
}
