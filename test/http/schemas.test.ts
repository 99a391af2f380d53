import { expect, it } from 'vitest';
import { z } from 'zod';
import { apiRoutes } from '../../src/http/app.ts';

/** Any JSON: `lineage` and `signature`, which are limited by the size of a manifest. */
const ANY_JSON = z.json()._zod.def.type;

/** Returns the path of each array without a maximum length in a schema. */
function unbounded(schema: z.core.$ZodType, path: string): string[] {
  const { def } = schema._zod as unknown as { def: Record<string, unknown> & { type: string } };
  if (def.type === ANY_JSON) return [];
  const checks = (def.checks ?? []) as z.core.$ZodCheck[];
  const hasMaximum = checks.some((check) => check._zod.def.check === 'max_length');
  const own = def.type === 'array' && !hasMaximum ? [path] : [];
  return [...own, ...Object.entries(def).flatMap(([key, value]) => within(value, `${path}.${key}`))];
}

function within(value: unknown, path: string): string[] {
  if (value instanceof z.core.$ZodType) return unbounded(value, path);
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, member]) => within(member, `${path}.${key}`));
}

it('every list in a request has a maximum length', () => {
  const schemas = apiRoutes.flatMap(({ method, path, params, query, body, rawBody = {} }) =>
    [params, query, body, ...Object.values(rawBody)]
      .filter((schema) => schema != null)
      .map((schema) => unbounded(schema, `${method} ${path}`)),
  );
  expect(schemas.length).toBeGreaterThan(30);
  expect(schemas.flat()).toEqual([]);
});

it('a list without a maximum length is found at any depth', () => {
  const list = z.array(z.string());
  const schema = z.strictObject({ a: list.optional(), b: z.union([list.max(3), z.record(z.string(), list)]) });
  expect(unbounded(schema, '').length).toBe(2);
  expect(unbounded(z.preprocess((value) => value, list).default([]), '').length).toBe(1);
});
