import { z } from 'zod';

/** More than any schema or lineage needs, and far below the limit of a parser's stack. */
const MAX_DEPTH = 100;

/** A record that refuses the key `__proto__`, which zod silently drops: no value of a request may get lost. */
export function record<T extends z.ZodType>(values: T) {
  return z.preprocess(refuseLossy, z.record(z.string(), values));
}

/** Any JSON value that can be stored without loss. */
export const Json = z.preprocess(refuseLossy, z.json());

function refuseLossy<T>(value: T, context: z.core.$RefinementCtx): T {
  const message = lossIn(value);
  if (message) context.addIssue({ code: 'custom', message });
  return value;
}

/** Parses the JSON of a file; returns null if it is not JSON, or cannot be returned without loss. */
export function shownJson(text: string): unknown {
  try {
    const value: unknown = JSON.parse(text);
    return lossIn(value) === null ? value : null;
  } catch {
    return null;
  }
}

/** Returns the value of a JSON text; null if it is not JSON, or does not have the shape. */
export function parsedOrNull<T>(schema: z.ZodType<T>, text: string): T | null {
  try {
    return schema.parse(JSON.parse(text));
  } catch {
    return null;
  }
}

/** Returns why a value cannot be stored, or null. Not recursive, because the value may be nested too deeply for that. */
function lossIn(value: unknown): string | null {
  const open: [value: unknown, depth: number][] = [[value, 0]];
  for (let next = open.pop(); next; next = open.pop()) {
    const [node, depth] = next;
    if (typeof node !== 'object' || node === null) continue;
    if (depth === MAX_DEPTH) return `must not be nested deeper than ${MAX_DEPTH} levels`;
    if (Object.hasOwn(node, '__proto__')) return 'must not have the key __proto__';
    for (const child of Object.values(node)) open.push([child, depth + 1]);
  }
  return null;
}
