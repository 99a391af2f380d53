import { readFile, stat } from 'node:fs/promises';
import { z } from 'zod';
import { isErrno } from '../files/errno.ts';
import { LoadFailure } from './failure.ts';

/** Where a version ships requests whose answers are known. */
export const GOLDEN_FILE = 'golden.json';
const MAX_BYTES = 1024 * 1024;

const Golden = z.object({
  tolerance: z.number().nonnegative().default(1e-6),
  requests: z.array(z.object({ input: z.json(), output: z.json() })).max(1000),
});

/**
 * Answers a version's golden requests with its model, one after the other: a smoke test that also warms up.
 *
 * @throws {LoadFailure} golden-mismatch; the signal's reason
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
    let answer: unknown;
    try {
      answer = await predict(input);
    } catch (cause) {
      throw new LoadFailure('golden-mismatch', `golden request ${index} was not answered: ${cause}`, cause);
    }
    const where = difference(output, answer, golden.tolerance);
    if (where !== null) throw new LoadFailure('golden-mismatch', `golden request ${index}: ${where}`);
  }
}

async function readGolden(path: string): Promise<z.infer<typeof Golden> | null> {
  try {
    if ((await stat(path)).size > MAX_BYTES) throw new Error(`it is over ${MAX_BYTES} bytes`);
    return Golden.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch (cause) {
    if (isErrno(cause, 'ENOENT')) return null;
    throw new LoadFailure('golden-mismatch', `${GOLDEN_FILE} cannot be read: ${cause}`, cause);
  }
}

/** Where an answer differs from what was expected; null if it agrees. Numbers may be off by the tolerance. */
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

/** As JSON, where there is such a thing. */
function textOf(value: unknown): string {
  if (typeof value === 'number') return String(value);
  try {
    return JSON.stringify(value, (_, part) => (typeof part === 'bigint' ? String(part) : part)) ?? String(value);
  } catch {
    return 'what JSON has no word for';
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

/** What runtimes answer with, as JSON would have it: their typed arrays, and integers of 64 bits. */
function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return Number(value);
  return ArrayBuffer.isView(value) && !(value instanceof DataView) ? Array.from(value as Float32Array) : value;
}
