import { describe, expect, test } from 'vitest';
import { rollback } from '../../src/commands/rollback.ts';
import { activated, archived, deactivated, declared, file, given, published, rolledBack } from './support.ts';

const versions = ['1.0.0', '1.1.0', '1.2.0'].map((version) => published(version, { artifacts: [file(version)] }));
const ask = { reason: 'recall dropped' };

test('restores what was active before and names the reverted revision', () => {
  const { when, model } = given(...versions, activated('1.0.0'), activated('1.1.0'));
  const { manifest_digest } = model.versions.get('1.0.0')!;
  const { gives, data } = when(rollback, ask);
  gives('version.rolled_back', {
    environment: 'production',
    version: '1.0.0',
    previous: '1.1.0',
    reason: 'recall dropped',
    reverts: [5],
    runtime_checked: false,
    active: { production: { version: '1.0.0', manifest_digest, published_revision: 1 }, staging: null, dev: null },
  });
  expect(data).not.toHaveProperty('overridden');
});

test('a second rollback goes one step further back', () => {
  const history = [...versions, activated('1.0.0'), activated('1.1.0'), activated('1.2.0'), rolledBack()];
  given(...history)
    .when(rollback, ask)
    .gives('version.rolled_back', { version: '1.0.0', previous: '1.1.0', reverts: [5] });
});

test('after a new activation it goes back to the result of the earlier rollback', () => {
  const { when } = given(...versions, activated('1.0.0'), activated('1.1.0'), rolledBack(), activated('1.2.0'));
  when(rollback, ask).gives('version.rolled_back', { version: '1.0.0', previous: '1.2.0', reverts: [7] });
});

test('undoes a deactivation', () => {
  const { when } = given(...versions, activated('1.0.0'), deactivated());
  when(rollback, ask).gives('version.rolled_back', { version: '1.0.0', previous: null, reverts: [5] });
});

test('goes back to no active version if that was the state before', () => {
  const { when } = given(...versions, activated('1.0.0'), deactivated(), activated('1.1.0'));
  when(rollback, ask).gives('version.rolled_back', {
    version: null,
    previous: '1.1.0',
    reverts: [6],
    runtime_checked: false,
    active: { production: null, staging: null, dev: null },
  });
});

describe('to_version', () => {
  const history = [...versions, activated('1.0.0'), activated('1.1.0'), deactivated(), activated('1.2.0')];

  test('pops down to it and names every reverted revision, newest first', () => {
    const expected = { version: '1.0.0', previous: '1.2.0', reverts: [7, 6, 5] };
    given(...history)
      .when(rollback, { ...ask, to_version: '1.0.0' })
      .gives('version.rolled_back', expected);
  });

  test('uses the nearest entry', () => {
    const { when } = given(...history, activated('1.1.0'), activated('1.0.0'));
    when(rollback, { ...ask, to_version: '1.1.0' }).gives('version.rolled_back', { reverts: [9] });
    when(rollback, { ...ask, to_version: '1.2.0' }).gives('version.rolled_back', { reverts: [9, 8] });
  });

  test('naming the active version goes to its earlier entry below the top', () => {
    const { when } = given(...versions, activated('1.0.0'), activated('1.1.0'), activated('1.0.0'));
    const expected = { version: '1.0.0', previous: '1.0.0', reverts: [6, 5] };
    when(rollback, { ...ask, to_version: '1.0.0' }).gives('version.rolled_back', expected);
  });

  test('refuses a version that is not in the stack below', () => {
    const { when } = given(...history);
    const environment = 'production';
    when(rollback, { ...ask, to_version: '1.2.0' }).isRefused('nothing-to-roll-back', { environment });
    when(rollback, { ...ask, to_version: '9.9.9' }).isRefused('nothing-to-roll-back', { environment });
  });
});

describe('there is nothing to roll back', () => {
  test.each([
    ['where nothing was ever active', []],
    ['where the first activation is the only one', [activated('1.0.0')]],
    ['where everything was rolled back', [activated('1.0.0'), activated('1.1.0'), rolledBack()]],
    [
      'from another environment',
      [activated('1.0.0', { environment: 'dev' }), activated('1.1.0', { environment: 'dev' })],
    ],
  ])('%s', (_, moves) => {
    const { when } = given(...versions, ...moves);
    when(rollback, ask).isRefused('nothing-to-roll-back', { environment: 'production' });
  });
});

describe('a target that cannot be loaded', () => {
  const moves = [activated('1.0.0'), activated('1.1.0'), activated('1.2.0')];

  test('refuses an archived target and names the next candidate', () => {
    const { when } = given(...versions, ...moves, archived('1.1.0'));
    when(rollback, ask).isRefused('version-archived', { version: '1.1.0', next: '1.0.0' });
    when(rollback, { ...ask, to_version: '1.0.0' }).gives('version.rolled_back', { version: '1.0.0', reverts: [6, 5] });
  });

  test('refuses a target with missing bytes and names the next candidate', () => {
    const { when } = given(...versions, ...moves);
    const gone = file('1.1.0');
    const fields = { version: '1.1.0', path: '1.1.0', digest: gone.digest, next: '1.0.0' };
    when(rollback, ask, { missing: [gone] }).isRefused('artifact-missing', fields);
  });

  test('names no candidate at the end of the stack', () => {
    const { when } = given(...versions, ...moves, archived('1.0.0'));
    when(rollback, { ...ask, to_version: '1.0.0' }).isRefused('version-archived', { version: '1.0.0', next: null });
  });

  test('never offers the target, no version, the active version or an archived one', () => {
    const { when } = given(
      ...[...versions, published('1.3.0')],
      ...[activated('1.0.0'), activated('1.2.0'), activated('1.1.0'), activated('1.3.0'), deactivated()],
      ...[activated('1.1.0'), activated('1.3.0'), archived('1.1.0'), archived('1.2.0')],
    );
    when(rollback, ask).isRefused('version-archived', { version: '1.1.0', next: '1.0.0' });
  });

  test('bytes of other versions do not matter', () => {
    const { when } = given(...versions, ...moves);
    when(rollback, ask, { missing: [file('1.0.0'), file('1.2.0')] }).gives('version.rolled_back');
  });
});

describe('expected_active', () => {
  const { when } = given(...versions, activated('1.0.0'), activated('1.1.0'));

  test('has no effect if it matches', () => {
    when(rollback, { ...ask, expected_active: '1.1.0' }).gives('version.rolled_back');
  });

  test('refuses if it does not match and names the event that changed it', () => {
    const fields = {
      active: '1.1.0',
      expected: '1.0.0',
      changed_by: expect.objectContaining({ revision: 5, by: 'ana' }),
    };
    when(rollback, { ...ask, expected_active: '1.0.0' }).isRefused('active-changed', fields);
    when(rollback, { ...ask, expected_active: null }).isRefused('active-changed', { expected: null });
  });

  test('can be null after a deactivation', () => {
    const after = given(...versions, activated('1.0.0'), deactivated());
    after.when(rollback, { ...ask, expected_active: null }).gives('version.rolled_back', { version: '1.0.0' });
  });
});

describe('the runtime rule', () => {
  const requires = { python: '~=3.11.0' };
  const history = given(
    ...[published('1.0.0', { requires }), published('1.1.0')],
    ...[activated('1.0.0'), activated('1.1.0'), declared({ python: '3.12.1' })],
  );

  test('applies to the target', () => {
    const mismatches = [{ name: 'python', expected: '~=3.11.0', actual: '3.12.1', source: 'declared' }];
    history.when(rollback, ask).isRefused('runtime-mismatch', { version: '1.0.0', mismatches });
  });

  test('an override passes it, is recorded and gives warnings', () => {
    const data = { runtime_checked: true, overridden: ['runtime'] };
    const warnings = ['python ~=3.11.0 wanted, 3.12.1 declared'];
    history.when(rollback, { ...ask, override: ['runtime'] }).gives('version.rolled_back', data, warnings);
  });

  test('has no other override', () => {
    expect(rollback.input.safeParse({ ...ask, override: ['archived'] }).success).toBe(false);
  });
});

describe('refuses', () => {
  test('an input without a reason', () => {
    expect(rollback.input.safeParse({}).success).toBe(false);
    expect(rollback.input.safeParse({ reason: ' ' }).success).toBe(false);
  });

  test('an unknown model or environment', () => {
    given().when(rollback, ask).isRefused('unknown-model');
    const environments = ['production', 'staging', 'dev'];
    given(...versions)
      .when(rollback, { ...ask, environment: 'qa' })
      .isRefused('unknown-environment', { environments });
  });
});
