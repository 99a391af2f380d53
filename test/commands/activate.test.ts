import { describe, expect, test } from 'vitest';
import { activate } from '../../src/commands/activate.ts';
import { rollback } from '../../src/commands/rollback.ts';
import { activated, archived, at, deactivated, declared, did, file, given, published } from './support.ts';

test('activates a version and records what was active before', () => {
  const { when, model } = given(published('1.0.0'), published('1.1.0'), activated('1.0.0'));
  const { manifest_digest } = model.versions.get('1.1.0')!;
  when(activate, { version: '1.1.0', reason: ' better ' }).gives('version.activated', {
    environment: 'production',
    version: '1.1.0',
    previous: '1.0.0',
    reason: 'better',
    runtime_checked: false,
    active: { production: { version: '1.1.0', manifest_digest, published_revision: 2 }, staging: null, dev: null },
  });
});

test('the first activation has no previous version and needs no reason', () => {
  const { when } = given(published('1.0.0'));
  when(activate, { version: '1.0.0' }).gives('version.activated', { previous: null, reason: null });
});

test('the active map omits the revision only for the environment that moves', () => {
  const { when } = given(published('1.0.0'), activated('1.0.0', { environment: 'dev' }), activated('1.0.0'));
  const { data } = when(activate, { version: '1.0.0', environment: 'staging' });
  expect(data?.active.dev?.revision).toBe(2);
  expect(data?.active.production?.revision).toBe(3);
  expect(data?.active.staging).not.toHaveProperty('revision');
});

test('environments that are no longer configured stay in the map but accept no activation', () => {
  const { when } = given(published('1.0.0'), activated('1.0.0', { environment: 'dev' }), published('1.1.0'));
  const context = { environments: ['production'] };
  const { data } = when(activate, { version: '1.0.0' }, context);
  expect(Object.keys(data!.active)).toEqual(['production', 'dev']);
  expect(data!.active.dev?.revision).toBe(2);
  when(activate, { version: '1.1.0', environment: 'dev' }, context).isRefused('unknown-environment', context);
});

describe('refuses', () => {
  test('a model without versions', () => {
    given().when(activate, { version: '1.0.0' }).isRefused('unknown-model');
  });

  test('a version that was not published', () => {
    given(published('1.0.0')).when(activate, { version: '1.0.1' }).isRefused('unknown-version');
  });

  test('an environment that is not configured, and names the configured ones', () => {
    const environments = ['production', 'staging', 'dev'];
    const { when } = given(published('1.0.0'));
    when(activate, { version: '1.0.0', environment: 'qa' }).isRefused('unknown-environment', { environments });
    when(activate, { version: '1.0.0', environment: 'constructor' }).isRefused('unknown-environment');
  });

  test('the version that is already active there, and names it', () => {
    const { when } = given(published('1.0.0'), activated('1.0.0'));
    when(activate, { version: '1.0.0' }).isRefused('already-active', { active: '1.0.0', revision: 2 });
    when(activate, { version: '1.0.0', force: true }).isRefused('already-active');
    when(activate, { version: '1.0.0', environment: 'dev' }).gives('version.activated');
  });

  test('an archived version', () => {
    const { when } = given(published('1.0.0'), archived('1.0.0'));
    when(activate, { version: '1.0.0' }).isRefused('version-archived', { version: '1.0.0' });
  });

  test('a version whose bytes are missing', () => {
    const gone = file('b.bin');
    const { when } = given(published('1.0.0', { artifacts: [file('a.bin'), gone] }));
    when(activate, { version: '1.0.0' }, { missing: [gone] }).isRefused('artifact-missing', {
      version: '1.0.0',
      path: 'b.bin',
      digest: gone.digest,
    });
  });
});

describe('expected_active', () => {
  const { when } = given(published('1.0.0'), published('1.1.0'), activated('1.0.0', { reason: 'first' }));

  test('has no effect if it matches', () => {
    when(activate, { version: '1.1.0', expected_active: '1.0.0' }).gives('version.activated');
    when(activate, { version: '1.1.0', environment: 'dev', expected_active: null }).gives('version.activated');
  });

  test('refuses another version and names the event that changed it', () => {
    const changed_by = { revision: 3, at: at(240), by: 'ana', reason: 'first', request_id: 'r-e3' };
    const won = { environment: 'production', active: '1.0.0', expected: '1.1.0', changed_by };
    when(activate, { version: '1.1.0', expected_active: '1.1.0' }).isRefused('active-changed', won);
  });

  test('null refuses if a version is active', () => {
    when(activate, { version: '1.1.0', expected_active: null }).isRefused('active-changed', { expected: null });
  });

  test('a version refuses if no version is, or ever was, active', () => {
    const none = { active: null, expected: '1.0.0', changed_by: null };
    when(activate, { version: '1.1.0', environment: 'dev', expected_active: '1.0.0' }).isRefused(
      'active-changed',
      none,
    );
  });

  test('null matches after a deactivation', () => {
    const after = given(published('1.0.0'), activated('1.0.0'), deactivated());
    after.when(activate, { version: '1.0.0', expected_active: null }).gives('version.activated', { previous: null });
  });

  test('is checked before whether the version is already active', () => {
    when(activate, { version: '1.0.0', expected_active: '1.1.0' }).isRefused('active-changed');
  });
});

describe('the limit of activations a minute', () => {
  const on = (second: number, version: string, fields = {}) =>
    did(activate, { version, ...fields }, { now: at(10_000 + second) });
  const three = given(
    published('1.0.0'),
    published('1.1.0'),
    on(0, '1.0.0'),
    on(10.5, '1.1.0'),
    on(20, '1.0.0', { force: true }),
  );
  const next = (second: number, fields = {}, limit = {}) =>
    three.when(activate, { version: '1.1.0', ...fields }, { now: at(10_000 + second), ...limit });

  test('refuses the fourth activation and gives the seconds until the next one', () => {
    next(20).isRefused('too-many-activations', { retry_after: 40 });
    next(30.4).isRefused('too-many-activations', { retry_after: 30 });
    next(59.999).isRefused('too-many-activations', { retry_after: 1 });
  });

  test('accepts it when the first one is a minute old', () => next(60).gives('version.activated'));

  test('then waits for the second one to be a minute old', () => {
    const { when } = given(
      published('1.0.0'),
      published('1.1.0'),
      ...[on(0, '1.0.0'), on(10, '1.1.0'), on(20, '1.0.0'), on(60, '1.1.0')],
    );
    const ask = { version: '1.0.0' };
    when(activate, ask, { now: at(10_065) }).isRefused('too-many-activations', { retry_after: 5 });
  });

  test('force passes the limit and is recorded', () => {
    next(20, { force: true }).gives('version.activated', { forced: true });
    expect(next(60).data).not.toHaveProperty('forced');
  });

  test('0 means no limit', () => next(20, {}, { activationLimit: 0 }).gives('version.activated'));

  test('can be changed', () => {
    next(20, {}, { activationLimit: 4 }).gives('version.activated');
    next(20, {}, { activationLimit: 1 }).isRefused('too-many-activations', { retry_after: 60 });
  });

  test('is counted per environment', () => next(20, { environment: 'dev' }).gives('version.activated'));

  test('does not count rollbacks, and does not refund what they undo', () => {
    const back = (second: number) => did(rollback, { reason: 'worse' }, { now: at(10_000 + second) });
    const versions = [published('1.0.0'), published('1.1.0')];
    const two = given(...versions, on(0, '1.0.0'), on(1, '1.1.0'), back(2));
    two.when(activate, { version: '1.1.0' }, { now: at(10_003) }).gives('version.activated');
    const full = given(...versions, on(0, '1.0.0'), on(1, '1.1.0'), on(2, '1.0.0'), back(3));
    full.when(activate, { version: '1.0.0' }, { now: at(10_004) }).isRefused('too-many-activations');
  });
});

describe('the runtime rule', () => {
  const requires = { python: '~=3.11.0', packages: { Scikit_Learn: '~=1.5.1', joblib: '>=1.4' }, node: '>=22' };
  const when = (...runtime: object[]) => given(published('1.0.0', { requires }), ...runtime.map(declared)).when;
  const ask = { version: '1.0.0' };

  test('checks nothing if no runtime is declared, and says so', () => {
    when()(activate, ask).gives('version.activated', { runtime_checked: false }, []);
  });

  test('accepts a runtime that satisfies the requirements', () => {
    const runtime = { python: '3.11.7', packages: { 'scikit-learn': '1.5.2', joblib: '1.4' }, node: '24.1.0' };
    when(runtime)(activate, ask).gives('version.activated', { runtime_checked: true }, []);
  });

  test('refuses a runtime that does not, and lists every mismatch', () => {
    const runtime = { python: '3.12.1', packages: { 'SCIKIT.learn': '1.4.0', joblib: '1.4.2' }, node: '20.0.0' };
    when(runtime)(activate, ask).isRefused('runtime-mismatch', {
      version: '1.0.0',
      mismatches: [
        { name: 'python', expected: '~=3.11.0', actual: '3.12.1', source: 'declared' },
        { name: 'node', expected: '>=22', actual: '20.0.0', source: 'declared' },
        { name: 'scikit-learn', expected: '~=1.5.1', actual: '1.4.0', source: 'declared' },
      ],
    });
  });

  test('force does not bypass it', () => {
    when({ python: '3.12.1' })(activate, { ...ask, force: true }).isRefused('runtime-mismatch');
  });

  test('warns of requirements that the runtime does not state', () => {
    const warnings = ['node', 'scikit-learn', 'joblib'].map(
      (name) => `${name} is required but not in the declared runtime`,
    );
    when({ python: '3.11.7' })(activate, ask).gives('version.activated', { runtime_checked: true }, warnings);
  });

  test('is counted per environment', () => {
    when({ python: '3.12.1' })(activate, { ...ask, environment: 'dev' }).gives('version.activated', {
      runtime_checked: false,
    });
  });

  test('uses the latest declaration', () => {
    when({ python: '3.12.1' }, { python: '3.11.2' })(activate, ask).gives('version.activated');
  });
});

test('the input accepts neither an actor nor unknown fields', () => {
  for (const extra of [{ actor: 'eve' }, { expectedActive: null }, { environment: 'Prod' }, { reason: '  ' }]) {
    expect(activate.input.safeParse({ version: '1.0.0', ...extra }).success).toBe(false);
  }
});
