import { describe, expect, test } from 'vitest';
import {
  convergence,
  hasGivenUp,
  InstanceName,
  LOADER_ERRORS,
  LOADER_STATES,
  type LoaderErrorCode,
  LoaderReport,
  PERMANENT_ERRORS,
  whyNot,
} from '../../src/domain/fleet.ts';
import { digestOf, errorOf, reportOf, targetOf } from '../support/loaders.ts';

const pointer = (version: string, revision: number) => ({ ...targetOf(version, revision), published_revision: 1 });
const active = pointer('1.2.0', 31);
const ready = (version: string, revision: number) =>
  reportOf({ state: 'ready', target: targetOf(version, revision), current: targetOf(version, revision) });
const failed = (code: LoaderErrorCode, target = targetOf('1.2.0', 31)) =>
  reportOf({ state: 'failed', target, current: targetOf('1.1.0', 28), error: errorOf(code, 'no joblib here') });

describe('a report', () => {
  const isValid = (fields: object) => LoaderReport.safeParse({ ...reportOf(), ...fields }).success;

  test('of the documented form is valid', () => {
    const contract = {
      ...{ environment: 'production', host: 'scorer-3', pid: 4711, client: 'signalbox-node 0.1.0' },
      ...{ state: 'failed', since: '2026-03-03T14:05:02.120Z', stale: false },
      ...{ target: targetOf('1.2.0', 31), current: targetOf('1.1.0', 28) },
      error: { code: 'runtime-mismatch', message: 'scikit-learn ~=1.5.1 wanted', at: '2026-03-03T14:05:02.120Z' },
      ...{ load_ms: 812, warm_up_ms: 40 },
      runtime: { python: '3.11.7', packages: { 'scikit-learn': '1.4.2', joblib: '1.4.0' } },
      cache: { hits: 12, misses: 3 },
    };
    expect(LoaderReport.parse(contract)).toEqual(contract);
  });

  test('may have null for unknown values', () => {
    expect(isValid({ state: 'starting', target: null, current: null, error: null, load_ms: null })).toBe(true);
    expect(isValid({ runtime: {} })).toBe(true);
  });

  test.each(LOADER_STATES)('with the state %s is valid', (state) => expect(isValid({ state })).toBe(true));
  test.each(LOADER_ERRORS)('with the error %s is valid', (code) =>
    expect(isValid({ error: errorOf(code) })).toBe(true),
  );

  test.each([
    ['an unknown field', { more: 1 }],
    ['an invalid environment', { environment: 'Production' }],
    ['a long host', { host: 'h'.repeat(201) }],
    ['an unknown state', { state: 'bored' }],
    ['an invalid time', { since: 'yesterday' }],
    ['a time with a zone offset', { since: '2026-03-03T14:05:02+01:00' }],
    ['half a target', { target: { version: '1.2.0' } }],
    ['an invalid version', { current: { ...targetOf('1.2.0', 1), version: 'v1' } }],
    ['an invalid revision', { current: { ...targetOf('1.2.0', 1), revision: 0 } }],
    ['a long message', { error: errorOf('fetch-failed', 'm'.repeat(2001)) }],
    ['an unknown error', { error: errorOf('oops' as LoaderErrorCode) }],
    ['a fraction of a millisecond', { load_ms: 0.5 }],
    ['an invalid runtime', { runtime: { python: 'three' } }],
    ['a negative count', { cache: { hits: -1, misses: 0 } }],
    ['more bytes than a report may have', { runtime: { packages: { ['p'.repeat(20_000)]: '1.0' } } }],
  ])('with %s is not valid', (_, fields) => expect(isValid(fields)).toBe(false));
});

test.each(['scorer-3-4711-9f2c', 'A_b', 'x'.repeat(100)])('%s is an instance name', (name) => {
  expect(InstanceName.safeParse(name).success).toBe(true);
});

test.each(['', 'a.b', 'a b', 'a*', 'ä', 'x'.repeat(101)])('%j is not an instance name', (name) => {
  expect(InstanceName.safeParse(name).success).toBe(false);
});

describe('convergence', () => {
  const of = (...loaders: LoaderReport[]) => convergence({ production: active, staging: null }, loaders);

  test('returns the active version, also without loaders', () => {
    expect(of()).toEqual({
      production: {
        ...{ active: '1.2.0', manifest_digest: digestOf('1.2.0'), revision: 31 },
        ...{ total: 0, converged: 0, failed: 0 },
      },
      staging: { active: null, manifest_digest: null, revision: null, total: 0, converged: 0, failed: 0 },
    });
  });

  test.each<[string, LoaderReport, object]>([
    ['a loader of the active version has converged', ready('1.2.0', 31), { converged: 1, failed: 0 }],
    ['also one that has served it since an earlier activation', ready('1.2.0', 12), { converged: 1, failed: 0 }],
    ['a loader of another version has not converged', ready('1.1.0', 28), { converged: 0, failed: 0 }],
    [
      'nor a loader of another manifest under the same version',
      reportOf({ state: 'ready', current: { ...targetOf('1.2.0', 31), manifest_digest: digestOf('other') } }),
      { converged: 0, failed: 0 },
    ],
    [
      'nor a loader that is still loading, whatever serves',
      reportOf({ state: 'loading', current: targetOf('1.2.0', 12), target: targetOf('1.2.0', 31) }),
      { converged: 0, failed: 0 },
    ],
    ['a failed loader counts as failed', failed('fetch-failed'), { converged: 0, failed: 1 }],
    ['and so does a diverged one', reportOf({ state: 'diverged' }), { converged: 0, failed: 1 }],
    ['a loader without a target has not converged', reportOf({ state: 'no-target' }), { converged: 0, failed: 0 }],
  ])('%s', (_, loader, counts) => {
    expect(of(loader).production).toMatchObject({ total: 1, ...counts });
  });

  test('if nothing is active, loaders that know it have converged', () => {
    const staging = { environment: 'staging' };
    const loaders = [reportOf({ ...staging, state: 'no-target' }), { ...ready('1.2.0', 31), ...staging }];
    expect(of(...loaders).staging).toMatchObject({ total: 2, converged: 1, failed: 0 });
  });

  test('counts each environment separately, also one that only a loader reports', () => {
    const lost = reportOf({ environment: 'constructor', state: 'failed', error: errorOf('unknown-environment') });
    const counted = of(ready('1.2.0', 31), ready('1.1.0', 28), lost);
    expect(counted.production).toMatchObject({ total: 2, converged: 1 });
    expect(counted.staging).toMatchObject({ total: 0 });
    expect(counted.constructor).toMatchObject({ active: null, total: 1, converged: 0, failed: 1 });
  });
});

describe('hasGivenUp', () => {
  test.each(LOADER_ERRORS)('is true for permanent errors only: %s', (code) => {
    expect(hasGivenUp(failed(code), active)).toBe(PERMANENT_ERRORS.some((permanent) => permanent === code));
  });

  test('is false if the error is of another target or another move to the same version', () => {
    expect(hasGivenUp(failed('golden-mismatch', targetOf('1.1.0', 30)), active)).toBe(false);
    expect(hasGivenUp(failed('golden-mismatch', targetOf('1.2.0', 20)), active)).toBe(false);
  });

  test('needs no target for an unknown environment', () => {
    const lost = reportOf({ state: 'failed', target: null, error: errorOf('unknown-environment') });
    expect(hasGivenUp(lost, active)).toBe(true);
  });

  test('is false while the loader loads again', () => {
    expect(hasGivenUp({ ...failed('golden-mismatch'), state: 'fetching' }, active)).toBe(false);
  });
});

describe('whyNot', () => {
  const on = { target: targetOf('1.2.0', 31), current: targetOf('1.1.0', 28) };
  test.each<[string | null, Partial<LoaderReport>]>([
    [null, { state: 'ready', current: targetOf('1.2.0', 31) }],
    ['no joblib here', failed('hydrate-failed')],
    ['fetch-failed', { state: 'failed', error: errorOf('fetch-failed', '') }],
    ['failed without a reason', { state: 'failed' }],
    ['follows another log than before', { state: 'diverged' }],
    ['does not know the active version yet', { state: 'starting' }],
    ['has stopped', { state: 'stopped' }],
    ['does not know that 1.2.0 is active yet', { state: 'no-target' }],
    ['serves 1.1.0', { state: 'ready', current: targetOf('1.1.0', 28) }],
    ['serves nothing', { state: 'ready' }],
    [
      'serves 1.2.0 with another manifest',
      { state: 'ready', current: { ...targetOf('1.2.0', 3), manifest_digest: digestOf('x') } },
    ],
    ['fetching 1.2.0', { state: 'fetching', ...on }],
    ['loading 1.2.0', { state: 'loading', ...on }],
    ['warming-up 1.2.0', { state: 'warming-up', ...on }],
  ])('%j', (why, fields) => expect(whyNot(reportOf(fields), active)).toBe(why));

  test('handles an environment in which nothing is active', () => {
    expect(whyNot(reportOf({ state: 'no-target' }), null)).toBeNull();
    expect(whyNot(ready('1.1.0', 28), null)).toBe('serves 1.1.0');
  });
});
