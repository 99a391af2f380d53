import { expect, it } from 'vitest';
import { z } from 'zod';
import { Problem } from '../../../src/domain/errors.ts';
import { check } from '../../../src/http/server/input.ts';
import { problemReply } from '../../../src/http/server/problem.ts';

const LONG = 'é\u0001"'.repeat(10_000);

function refusalOf(error: unknown) {
  const { body } = problemReply(error, 'id');
  expect(Buffer.byteLength(body as string)).toBeLessThanOrEqual(64 * 1024);
  return JSON.parse(body as string);
}

it.each<[string, Record<string, unknown>]>([
  ['a text', { path: LONG }],
  ['many texts', { missing: Array(1000).fill('x'.repeat(1000)) }],
  ['many long texts', { missing: Array(100).fill(LONG) }],
  ['many objects', { mismatches: Array(100).fill({ name: LONG, expected: LONG, actual: LONG, source: 'declared' }) }],
  ['a long key', { [LONG]: 1 }],
  ['many keys', Object.fromEntries(Array.from({ length: 10_000 }, (_, i) => [`key-${i}`, 'value']))],
])('a document with %s has at most 64 KiB', (_, fields) => {
  const problem = refusalOf(new Problem('invalid-request', `It is wrong: ${LONG}`, fields));
  expect(problem).toMatchObject({ code: 'invalid-request', status: 400, request_id: 'id' });
  expect(problem.detail).toContain('It is wrong');
});

it('a small document is not cut', () => {
  const missing = Array.from({ length: 100 }, (_, i) => `${i}.bin`);
  expect(refusalOf(new Problem('invalid-request', 'Parts are missing.', { missing }))).toMatchObject({ missing });
});

it('the first twenty invalid fields are named, and the others are counted', () => {
  const refused = (value: unknown) => {
    try {
      check(z.strictObject({ tags: z.record(z.string(), z.string()) }), value, 'body');
    } catch (error) {
      return refusalOf(error);
    }
  };
  const tags = Object.fromEntries(Array.from({ length: 50 }, (_, i) => [`tag-${i}`, i]));
  const many = refused({ tags });
  expect(many.errors).toHaveLength(20);
  expect(many.errors[0]).toMatchObject({ field: 'tags.tag-0' });
  expect(many.detail).toContain('and 30 more');
  expect(refused({ tags: { [LONG]: 1 } }).errors).toHaveLength(1);
  expect(refused({ tags: {}, [LONG]: 1 }).errors).toHaveLength(1);
});
