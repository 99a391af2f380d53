const WINDOW_MS = 5_000;
const SAMPLE_EVERY_MS = 200;
/** A shorter time says little: the first bytes only fill buffers. */
const KNOWN_AFTER_MS = 1_000;

/**
 * Measures the rate of a count over the last five seconds.
 *
 * @returns a function that takes the current count and returns the rate per second; null while it is not known
 */
export function createRate(now: () => number = () => performance.now()): (count: number) => number | null {
  let samples: { at: number; count: number }[] = [];
  return (count) => {
    const at = now();
    const last = samples.at(-1);
    // After a cut, the count goes back to what arrived.
    if (last && count < last.count) samples = [];
    if (!last || at - last.at >= SAMPLE_EVERY_MS) samples.push({ at, count });
    samples = samples.filter((sample) => at - sample.at <= WINDOW_MS);
    const [first] = samples;
    if (!first || at - first.at < KNOWN_AFTER_MS) return null;
    return ((count - first.count) / (at - first.at)) * 1_000;
  };
}
