import { describe, expect, test } from 'vitest';
import { activate } from '../../src/commands/activate.ts';
import type { LiveLoader } from '../../src/commands/command.ts';
import { rollback } from '../../src/commands/rollback.ts';
import type { Runtime } from '../../src/domain/requires.ts';
import { activated, declared, given, published } from './support.ts';

const requires = { python: '~=3.11.0', packages: { 'scikit-learn': '~=1.5.1' } };
const loader = (instance: string, runtime: Runtime, environment = 'production'): LiveLoader => {
  return { instance, environment, runtime };
};
const old = { python: '3.11.7', packages: { 'scikit-learn': '1.4.2' } };
const history = given(published('1.0.0', { requires }), published('1.1.0'));
const warningsOf = (...loaders: LiveLoader[]) => {
  const asked = { version: '1.0.0' };
  return (warnings: string[]) => history.when(activate, asked, { loaders }).gives('version.activated', {}, warnings);
};

describe('live loaders', () => {
  test('that could not load the target cause warnings and block nothing', () => {
    const two = { python: '3.10.1', packages: { scikit_learn: '1.4.2' } };
    warningsOf(
      loader('scorer-3', old),
      loader('scorer-4', two),
    )([
      'scorer-3 could not load 1.0.0: scikit-learn ~=1.5.1 wanted, 1.4.2 there',
      'scorer-4 could not load 1.0.0: python ~=3.11.0 wanted, 3.10.1 there; scikit-learn ~=1.5.1 wanted, 1.4.2 there',
    ]);
  });

  test('that could load it, or report no runtime, cause no warning', () => {
    warningsOf(
      loader('fits', { python: '3.11.7', packages: { 'scikit-learn': '1.5.2' } }),
      loader('silent', {}),
      loader('node', { node: '24.1.0' }),
    )([]);
  });

  test('of another environment cause no warning', () => warningsOf(loader('scorer-3', old, 'staging'))([]));

  test('are named up to ten and then counted', () => {
    const twelve = Array.from({ length: 12 }, (_, i) => loader(`scorer-${i}`, old));
    const named = (i: number) => `scorer-${i} could not load 1.0.0: scikit-learn ~=1.5.1 wanted, 1.4.2 there`;
    warningsOf(...twelve)([...Array.from({ length: 10 }, (_, i) => named(i)), 'and 2 more']);
    warningsOf(...twelve.slice(0, 10))(Array.from({ length: 10 }, (_, i) => named(i)));
  });

  test('are listed after the warnings of the declared runtime and are not recorded', () => {
    const { when } = given(published('1.0.0', { requires }), declared({ python: '3.11.7' }));
    const loaders = [loader('scorer-3', old)];
    const { data, gives } = when(activate, { version: '1.0.0' }, { loaders });
    gives('version.activated', { runtime_checked: true }, [
      'scikit-learn is required but not in the declared runtime',
      'scorer-3 could not load 1.0.0: scikit-learn ~=1.5.1 wanted, 1.4.2 there',
    ]);
    expect(JSON.stringify(data)).not.toContain('scorer-3');
  });

  test('cause warnings on a rollback, unless it leaves no active version', () => {
    const loaders = [loader('scorer-3', old)];
    const back = given(published('1.0.0', { requires }), published('1.1.0'), activated('1.0.0'), activated('1.1.0'));
    back
      .when(rollback, { reason: 'worse' }, { loaders })
      .gives('version.rolled_back', {}, ['scorer-3 could not load 1.0.0: scikit-learn ~=1.5.1 wanted, 1.4.2 there']);
  });
});
