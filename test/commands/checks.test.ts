import { expect, test } from 'vitest';
import { activate } from '../../src/commands/activate.ts';
import { rollback } from '../../src/commands/rollback.ts';
import { checkView } from '../../src/commands/rules/check.ts';
import { Problem } from '../../src/domain/errors.ts';
import { activated, archived, at, decide, declared, file, given, published } from './support.ts';

const python = (range: string) => ({ requires: { python: range } });

function checksOf(run: () => ReturnType<typeof decide>) {
  try {
    const decision = run();
    return { code: null, checks: ('checks' in decision ? (decision.checks ?? []) : []).map(checkView) };
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    return { code: error.code, checks: (error.fields.checks ?? null) as { rule: string; ok: boolean }[] | null };
  }
}

const resultsOf = (checks: readonly { rule: string; ok: boolean }[] | null) =>
  Object.fromEntries((checks ?? []).map(({ rule, ok }) => [rule, ok]));

test('a dry run that would succeed lists every rule that was checked', () => {
  const { model } = given(published('1.0.0'));
  const { code, checks } = checksOf(() => decide(model, activate, { version: '1.0.0', dry_run: true }));
  expect(code).toBeNull();
  expect(resultsOf(checks)).toEqual({
    'expected-active': true,
    'not-active': true,
    'not-archived': true,
    'bytes-present': true,
    runtime: true,
    'activation-limit': true,
  });
});

test('a dry run that would be refused lists all failures; the first one gives the code', () => {
  const { model } = given(published('1.0.0', python('~=3.11.0')), archived('1.0.0'), declared({ python: '3.12.1' }));
  const context = { missing: [{ ...file(), stored_size: undefined }], now: at(10_000) };
  const input = { version: '1.0.0', dry_run: true, expected_active: '0.9.0' };
  const { code, checks } = checksOf(() => decide(model, activate, input, context));
  expect(code).toBe('active-changed');
  expect(resultsOf(checks)).toEqual({
    'expected-active': false,
    'not-active': true,
    'not-archived': false,
    'bytes-present': false,
    runtime: false,
    'activation-limit': true,
  });
});

test('a real command is refused with the same code, without the list', () => {
  const { model } = given(published('1.0.0'), archived('1.0.0'));
  expect(checksOf(() => decide(model, activate, { version: '1.0.0' }))).toEqual({
    code: 'version-archived',
    checks: null,
  });
});

test('a forced activation and an overridden runtime pass their rules, and the detail says so', () => {
  const steps = [published('1.0.0', python('~=3.11.0')), published('2.0.0'), activated('1.0.0'), activated('2.0.0')];
  const { model } = given(...steps, declared({ python: '3.12.1' }));
  const back = { reason: 'worse', dry_run: true };
  const refused = checksOf(() => decide(model, rollback, back));
  expect([refused.code, resultsOf(refused.checks).runtime]).toEqual(['runtime-mismatch', false]);
  const overridden = checksOf(() => decide(model, rollback, { ...back, override: ['runtime'] }));
  expect(overridden.checks).toContainEqual({ rule: 'runtime', ok: true, detail: expect.stringMatching(/^Overridden/) });
  const limited = { activationLimit: 1, now: at(120 * 3 + 1) };
  const forced = checksOf(() =>
    decide(model, activate, { version: '1.0.0', environment: 'staging', force: true, dry_run: true }, limited),
  );
  expect(forced.code).toBeNull();
});

test('a rollback to an empty environment has nothing to load', () => {
  const { model } = given(published('1.0.0'), activated('1.0.0'));
  expect(checksOf(() => decide(model, rollback, { reason: 'worse', dry_run: true })).code).toBe('nothing-to-roll-back');
});
