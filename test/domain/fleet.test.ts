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
  const taken = (fields: object) => LoaderReport.safeParse({ ...reportOf(), ...fields }).success;

  test('is taken as the contract has it', () => {
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

  test('may leave open what is not known yet', () => {
    expect(taken({ state: 'starting', target: null, current: null, error: null, load_ms: null })).toBe(true);
    expect(taken({ runtime: {} })).toBe(true);
  });

  test.each(LOADER_STATES)('of state %s is taken', (state) => expect(taken({ state })).toBe(true));
  test.each(LOADER_ERRORS)('of error %s is taken', (code) => expect(taken({ error: errorOf(code) })).toBe(true));

  test.each([
    ['a field that there is none', { more: 1 }],
    ['an environment that is none', { environment: 'Production' }],
    ['a long host', { host: 'h'.repeat(201) }],
    ['a state that there is none', { state: 'bored' }],
    ['a time that is none', { since: 'yesterday' }],
    ['a time of a zone of its own', { since: '2026-03-03T14:05:02+01:00' }],
    ['half a target', { target: { version: '1.2.0' } }],
    ['a version that is none', { current: { ...targetOf('1.2.0', 1), version: 'v1' } }],
    ['a revision that is none', { current: { ...targetOf('1.2.0', 1), revision: 0 } }],
    ['a long message', { error: errorOf('fetch-failed', 'm'.repeat(2001)) }],
    ['an error that there is none', { error: errorOf('oops' as LoaderErrorCode) }],
    ['half a millisecond', { load_ms: 0.5 }],
    ['a runtime that is none', { runtime: { python: 'three' } }],
    ['a negative count', { cache: { hits: -1, misses: 0 } }],
    ['more than a message holds', { runtime: { packages: { ['p'.repeat(20_000)]: '1.0' } } }],
  ])('with %s is refused', (_, fields) => expect(taken(fields)).toBe(false));
});

test.each(['scorer-3-4711-9f2c', 'A_b', 'x'.repeat(100)])('%s is an instance', (name) => {
  expect(InstanceName.safeParse(name).success).toBe(true);
});

test.each(['', 'a.b', 'a b', 'a*', 'ä', 'x'.repeat(101)])('%j is no instance', (name) => {
  expect(InstanceName.safeParse(name).success).toBe(false);
});

describe('convergence', () => {
  const of = (...loaders: LoaderReport[]) => convergence({ production: active, staging: null }, loaders);

  test('tells what is active, also where nobody is', () => {
    expect(of()).toEqual({
      production: {
        ...{ active: '1.2.0', manifest_digest: digestOf('1.2.0'), revision: 31 },
        ...{ total: 0, converged: 0, failed: 0 },
      },
      staging: { active: null, manifest_digest: null, revision: null, total: 0, converged: 0, failed: 0 },
    });
  });

  test.each<[string, LoaderReport, object]>([
    ['who serves it has converged', ready('1.2.0', 31), { converged: 1, failed: 0 }],
    ['also since an earlier activation', ready('1.2.0', 12), { converged: 1, failed: 0 }],
    ['who serves another has not', ready('1.1.0', 28), { converged: 0, failed: 0 }],
    [
      'nor who serves other bytes under its name',
      reportOf({ state: 'ready', current: { ...targetOf('1.2.0', 31), manifest_digest: digestOf('other') } }),
      { converged: 0, failed: 0 },
    ],
    [
      'nor who is on the way, whatever serves',
      reportOf({ state: 'loading', current: targetOf('1.2.0', 12), target: targetOf('1.2.0', 31) }),
      { converged: 0, failed: 0 },
    ],
    ['who failed has failed', failed('fetch-failed'), { converged: 0, failed: 1 }],
    ['and who follows another log', reportOf({ state: 'diverged' }), { converged: 0, failed: 1 }],
    ['who has no target has not converged', reportOf({ state: 'no-target' }), { converged: 0, failed: 0 }],
  ])('%s', (_, loader, counts) => {
    expect(of(loader).production).toMatchObject({ total: 1, ...counts });
  });

  test('with nothing active, who knows that has converged', () => {
    const staging = { environment: 'staging' };
    const loaders = [reportOf({ ...staging, state: 'no-target' }), { ...ready('1.2.0', 31), ...staging }];
    expect(of(...loaders).staging).toMatchObject({ total: 2, converged: 1, failed: 0 });
  });

  test('counts each environment apart, and those that only a loader knows', () => {
    const lost = reportOf({ environment: 'constructor', state: 'failed', error: errorOf('unknown-environment') });
    const counted = of(ready('1.2.0', 31), ready('1.1.0', 28), lost);
    expect(counted.production).toMatchObject({ total: 2, converged: 1 });
    expect(counted.staging).toMatchObject({ total: 0 });
    expect(counted.constructor).toMatchObject({ active: null, total: 1, converged: 0, failed: 1 });
  });
});

describe('giving up', () => {
  test.each(LOADER_ERRORS)('with %s', (code) => {
    expect(hasGivenUp(failed(code), active)).toBe(PERMANENT_ERRORS.some((permanent) => permanent === code));
  });

  test('on another target, or another move to the same, says nothing of this one', () => {
    expect(hasGivenUp(failed('golden-mismatch', targetOf('1.1.0', 30)), active)).toBe(false);
    expect(hasGivenUp(failed('golden-mismatch', targetOf('1.2.0', 20)), active)).toBe(false);
  });

  test('takes no target where there is no such environment', () => {
    const lost = reportOf({ state: 'failed', target: null, error: errorOf('unknown-environment') });
    expect(hasGivenUp(lost, active)).toBe(true);
  });

  test('is not what a loader does that is on the way again', () => {
    expect(hasGivenUp({ ...failed('golden-mismatch'), state: 'fetching' }, active)).toBe(false);
  });
});

describe('why not', () => {
  const on = { target: targetOf('1.2.0', 31), current: targetOf('1.1.0', 28) };
  test.each<[string | null, Partial<LoaderReport>]>([
    [null, { state: 'ready', current: targetOf('1.2.0', 31) }],
    ['no joblib here', failed('hydrate-failed')],
    ['fetch-failed', { state: 'failed', error: errorOf('fetch-failed', '') }],
    ['failed and does not say why', { state: 'failed' }],
    ['follows a log that is no longer the same', { state: 'diverged' }],
    ['has not heard of a target yet', { state: 'starting' }],
    ['has stopped', { state: 'stopped' }],
    ['has not heard of 1.2.0 yet', { state: 'no-target' }],
    ['serves 1.1.0', { state: 'ready', current: targetOf('1.1.0', 28) }],
    ['serves nothing', { state: 'ready' }],
    ['serves another 1.2.0', { state: 'ready', current: { ...targetOf('1.2.0', 3), manifest_digest: digestOf('x') } }],
    ['fetching 1.2.0', { state: 'fetching', ...on }],
    ['loading 1.2.0', { state: 'loading', ...on }],
    ['warming-up 1.2.0', { state: 'warming-up', ...on }],
  ])('%j', (why, fields) => expect(whyNot(reportOf(fields), active)).toBe(why));

  test('with nothing active', () => {
    expect(whyNot(reportOf({ state: 'no-target' }), null)).toBeNull();
    expect(whyNot(ready('1.1.0', 28), null)).toBe('serves 1.1.0');
  });
});
