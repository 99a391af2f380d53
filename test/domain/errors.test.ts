import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { isProblemCode, Problem, type ProblemCode, problemTable } from '../../src/domain/errors.ts';

/** Every code that is documented (docs/http.md). */
const DESIGNED = `
400 invalid-request checksum-mismatch
401 unauthenticated
403 forbidden foreign-origin reference-not-allowed
404 unknown-model unknown-version unknown-environment unknown-blob unknown-key no-active-version not-found
405 method-not-allowed
409 version-exists already-active active-changed version-archived version-active nothing-to-roll-back
409 artifact-missing reference-changed mismatching-upload-offset conflict log-corrupt upgrade-pending
413 too-large
415 unsupported-media-type
416 range-not-satisfiable
422 runtime-mismatch idempotency-key-reused
429 too-many-activations too-many-commands too-many-uploads too-many-requests too-many-attempts
500 internal
502 bad-gateway
503 log-unavailable list-timeout not-caught-up store-unavailable identity-unavailable outcome-unknown
504 gateway-timeout
507 volume-full log-full`;

const designed = DESIGNED.trim()
  .split('\n')
  .flatMap((line) => {
    const [status, ...codes] = line.split(' ');
    return codes.map((code) => [code, Number(status)] as const);
  });

test.each(designed)('%s has the status %d', (code, status) => {
  const problem = new Problem(code as ProblemCode, 'why');
  expect(problem.status).toBe(status);
  expect(problem.title).not.toBe('');
  expect(isProblemCode(code)).toBe(true);
});

test('there are no other codes and no duplicates', () => {
  expect(problemTable.map(({ code }) => code).toSorted()).toEqual(designed.map(([code]) => code as string).toSorted());
  expect(new Set(problemTable.map(({ title }) => title)).size).toBe(problemTable.length);
  const source = readFileSync(new URL('../../src/domain/errors.ts', import.meta.url), 'utf8');
  const written = [...source.matchAll(/^ {2}'?([a-z-]+)'?: \[\d{3}, /gm)].map(([, code]) => code);
  expect(written).toHaveLength(designed.length);
});

test.each(['constructor', '__proto__', 'toString', '', 'Conflict', 404, null, undefined, ['conflict']])(
  '%j is not a code',
  (text) => expect(isProblemCode(text)).toBe(false),
);

test('a problem keeps its code, its fields and its cause', () => {
  const cause = new Error('disk');
  const problem = new Problem('volume-full', 'No room.', { path: 'a' }, cause);
  expect(problem).toBeInstanceOf(Error);
  expect(problem).toMatchObject({
    name: 'Problem',
    message: 'No room.',
    code: 'volume-full',
    fields: { path: 'a' },
    cause,
  });
  expect(Object.hasOwn(new Problem('conflict', 'x'), 'cause')).toBe(false);
});
