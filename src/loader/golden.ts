import { readFile, stat } from 'node:fs/promises';
import { z } from 'zod';
import { isErrno } from '../files/errno.ts';
import { LoadFailure } from './failure.ts';

/** A version's requests with their expected answers. */
export const GOLDEN_FILE = 'golden.json';
const MAX_BYTES = 1024 * 1024;

const Golden = z.object({
  tolerance: z.number().nonnegative().default(1e-6),
  requests: z.array(z.object({ input: z.json(), output: z.json() })).max(1000),
});

/**
 * Sends a version's golden requests to its model, one after another: a smoke test that also warms the model up.
 *
 * @throws {LoadFailure} golden-mismatch; or the signal's reason
 */
export async function checkGolden(
  path: string,
  predict: (input: unknown) => unknown,
  signal?: AbortSignal,
): Promise<void> {
  const golden = await readGolden(path);
  if (!golden) return;
  for (const [index, { input, output }] of golden.requests.entries()) {
    signal?.throwIfAborted();
    const answer = await (async () => predict(input))().catch((cause: unknown) => {
      throw new LoadFailure('golden-mismatch', `golden request ${index} failed: ${cause}`, cause);
    });
    const where = difference(output, answer, golden.tolerance);
    if (where !== null) throw new LoadFailure('golden-mismatch', `golden request ${index}: ${where}`);
  }
}

async function readGolden(path: string): Promise<z.infer<typeof Golden> | null> {
  try {
    if ((await stat(path)).size > MAX_BYTES) throw new Error(`it has more than ${MAX_BYTES} bytes`);
    return Golden.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch (cause) {
    if (isErrno(cause, 'ENOENT')) return null;
    throw new LoadFailure('golden-mismatch', `${GOLDEN_FILE} cannot be read: ${cause}`, cause);
  }
}

/** Describes the first difference between an answer and the expected one, beyond the tolerance; null if they agree. */
export function difference(expected: unknown, actual: unknown, tolerance: number, at = 'output'): string | null {
  const found = plain(actual);
  if (typeof expected === 'number' && typeof found === 'number') {
    const agrees = Math.abs(found - expected) <= tolerance * Math.max(1, Math.abs(expected));
    return agrees ? null : `${at} is ${found}, not ${expected}`;
  }
  if (Array.isArray(expected) && Array.isArray(found)) {
    if (expected.length !== found.length) return `${at} has ${found.length} entries, not ${expected.length}`;
    return firstOf(expected.map((entry, i) => () => difference(entry, found[i], tolerance, `${at}[${i}]`)));
  }
  if (isObject(expected) && isObject(found)) {
    const names = [...new Set([...Object.keys(expected), ...Object.keys(found)])];
    return firstOf(names.map((name) => () => difference(expected[name], found[name], tolerance, `${at}.${name}`)));
  }
  return expected === found ? null : `${at} is ${textOf(found)}, not ${textOf(expected)}`;
}

/** As JSON, if possible. */
function textOf(value: unknown): string {
  if (typeof value === 'number') return String(value);
  try {
    return JSON.stringify(value, (_, part) => (typeof part === 'bigint' ? String(part) : part)) ?? String(value);
  } catch {
    return 'not a JSON value';
  }
}

function firstOf(checks: (() => string | null)[]): string | null {
  for (const check of checks) {
    const found = check();
    if (found !== null) return found;
  }
  return null;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Converts typed arrays and 64-bit integers, which runtimes return, to what JSON has. */
function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return Number(value);
  return ArrayBuffer.isView(value) && !(value instanceof DataView) ? Array.from(value as Float32Array) : value;
}
