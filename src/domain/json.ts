import { z } from 'zod';

/** Deeper than any schema or lineage goes, and far from where a parser's stack ends. */
const MAX_DEPTH = 100;

/** Values by name. A key `__proto__`, which zod passes over in silence, is refused: nothing that was sent may vanish. */
export function record<T extends z.ZodType>(values: T) {
  return z.preprocess(refuseUnkeepable, z.record(z.string(), values));
}

/** Any JSON value that can be kept as it was sent. */
export const Json = z.preprocess(refuseUnkeepable, z.json());

function refuseUnkeepable<T>(value: T, context: z.core.$RefinementCtx): T {
  const why = unkeepable(value);
  if (why) context.addIssue({ code: 'custom', message: why });
  return value;
}

/** The JSON of a file; null for what is not JSON, or cannot be told again as it is. */
export function shownJson(text: string): unknown {
  try {
    const value: unknown = JSON.parse(text);
    return unkeepable(value) === null ? value : null;
  } catch {
    return null;
  }
}

/** Walked without recursion, since what it looks for is what recursion would fall over. */
function unkeepable(value: unknown): string | null {
  const open: [value: unknown, depth: number][] = [[value, 0]];
  for (let next = open.pop(); next; next = open.pop()) {
    const [node, depth] = next;
    if (typeof node !== 'object' || node === null) continue;
    if (depth === MAX_DEPTH) return `must not be nested deeper than ${MAX_DEPTH} levels`;
    if (Object.hasOwn(node, '__proto__')) return 'must not have a key __proto__';
    for (const child of Object.values(node)) open.push([child, depth + 1]);
  }
  return null;
}
