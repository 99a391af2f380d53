import { expect, it } from 'vitest';
import { createSignIns } from '../../src/access/sign-ins.ts';
import { Problem } from '../../src/domain/errors.ts';

const wrong = new Problem('unauthenticated', 'The token is not valid.');
const many = { code: 'too-many-attempts', fields: { retry_after: expect.any(Number) } };

it('slows down who fails for one subject over and over, from wherever', async () => {
  const signIns = createSignIns();
  for (let i = 0; i < 20; i++) expect(await signIns.failed(`10.0.0.${i}`, 'ana', wrong)).toBe(wrong);
  expect(await signIns.failed('10.0.1.1', 'ana', wrong)).toMatchObject({ ...many, cause: wrong });
  expect(await signIns.failed('10.0.1.1', 'ben', wrong)).toBe(wrong);
});

it('slows down an address that fails over and over, for whomever', async () => {
  const signIns = createSignIns();
  for (let i = 0; i < 300; i++) expect(await signIns.failed('10.0.0.1', `s-${i}`, wrong)).toBe(wrong);
  expect(await signIns.failed('10.0.0.1', 'another', wrong)).toMatchObject(many);
  expect(await signIns.failed('10.0.0.2', 'another', wrong)).toBe(wrong);
});

it('holds back a bounded number, and passes on what is no guess', async () => {
  const signIns = createSignIns();
  const answers = await Promise.all(Array.from({ length: 2_000 }, () => signIns.failed('10.0.0.1', 'ana', wrong)));
  expect(answers.filter((answer) => answer === wrong)).toHaveLength(20);
  const expired = new Problem('unauthenticated', 'The token has expired.', { expired: true });
  const away = new Problem('identity-unavailable', 'The provider is away.');
  for (const refusal of [expired, away]) expect(await signIns.failed('10.0.0.1', 'ana', refusal)).toBe(refusal);
});
