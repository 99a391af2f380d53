import { setImmediate } from 'node:timers/promises';
import { beforeEach, expect, it } from 'vitest';
import { createSignIns } from '../../src/access/sign-ins.ts';
import { Problem } from '../../src/domain/errors.ts';

/** The number of refusals that are held now, at most at one time, and in total. */
const held = { now: 0, most: 0, times: 0 };

async function wait(ms: number): Promise<void> {
  expect(ms).toBe(1_000);
  held.times++;
  held.most = Math.max(held.most, ++held.now);
  await setImmediate();
  held.now--;
}

beforeEach(() => Object.assign(held, { now: 0, most: 0, times: 0 }));

const wrong = new Problem('unauthenticated', 'The token is not valid.');
const many = { code: 'too-many-attempts', fields: { retry_after: expect.any(Number) } };

it('throttles repeated failures for one subject, from any address', async () => {
  const signIns = createSignIns(wait);
  for (let i = 0; i < 20; i++) expect(await signIns.failed(`10.0.0.${i}`, 'ana', wrong)).toBe(wrong);
  expect(held.times).toBe(0);
  expect(await signIns.failed('10.0.1.1', 'ana', wrong)).toMatchObject({ ...many, cause: wrong });
  expect(held.times).toBe(1);
  expect(await signIns.failed('10.0.1.1', 'ben', wrong)).toBe(wrong);
});

it('throttles repeated failures from one address, for any subject', async () => {
  const signIns = createSignIns(wait);
  for (let i = 0; i < 300; i++) expect(await signIns.failed('10.0.0.1', `s-${i}`, wrong)).toBe(wrong);
  expect(await signIns.failed('10.0.0.1', 'another', wrong)).toMatchObject(many);
  expect(await signIns.failed('10.0.0.2', 'another', wrong)).toBe(wrong);
});

it('holds a limited number of refusals, and never an expired credential or an unavailable provider', async () => {
  const signIns = createSignIns(wait);
  const answers = await Promise.all(Array.from({ length: 2_000 }, () => signIns.failed('10.0.0.1', 'ana', wrong)));
  expect(answers.filter((answer) => answer === wrong)).toHaveLength(20);
  expect(held.most).toBe(256);
  const expired = new Problem('unauthenticated', 'The token has expired.', { expired: true });
  const unavailable = new Problem('identity-unavailable', 'The provider is unavailable.');
  for (const refusal of [expired, unavailable]) expect(await signIns.failed('10.0.0.1', 'ana', refusal)).toBe(refusal);
});
