import { expect, test } from 'vitest';
import { declareRuntime } from '../../src/commands/declare-runtime.ts';
import { activated, declared, given, published } from './support.ts';

const environment = 'production';
const runtime = { python: '3.11.7', packages: { 'scikit-learn': '1.5.2', joblib: '1.4.2' } };

test('declares the runtime of an environment', () => {
  const { when } = given(published('1.0.0'), activated('1.0.0'));
  const { gives, data } = when(declareRuntime, { environment, ...runtime });
  gives('runtime.declared', { environment, runtime });
  expect(data?.active.production?.revision).toBe(2);
});

test('lists an environment that has only a runtime in the active map, without a version', () => {
  const { when, model } = given(published('1.0.0'), declared(runtime));
  when(declareRuntime, { environment, python: '3.12.0' }).gives('runtime.declared', {
    active: { production: null, staging: null, dev: null },
  });
  expect(model.environments.get('production')?.runtime).toEqual(runtime);
});

test('changes nothing if the same runtime is declared again, in any order', () => {
  const packages = { joblib: '1.4.2', 'scikit-learn': '1.5.2' };
  const { when } = given(published('1.0.0'), declared(runtime));
  when(declareRuntime, { packages, environment, python: '3.11.7' }).changesNothing(2);
  when(declareRuntime, { environment: 'dev', ...runtime }).gives('runtime.declared', { environment: 'dev' });
});

test('replaces the whole earlier runtime', () => {
  const { when } = given(published('1.0.0'), declared(runtime));
  when(declareRuntime, { environment, python: '3.11.7' }).gives('runtime.declared', { runtime: { python: '3.11.7' } });
});

test('refuses an unknown model or environment', () => {
  given().when(declareRuntime, { environment }).isRefused('unknown-model');
  const environments = ['production', 'staging', 'dev'];
  const { when } = given(published('1.0.0'));
  when(declareRuntime, { environment: 'qa' }).isRefused('unknown-environment', { environments });
});

test.each([
  ['a range', { python: '>=3.11' }],
  ['no version', { packages: { joblib: 'newest' } }],
  ['one package under two spellings', { packages: { 'scikit-learn': '1.5.2', scikit_learn: '1.4.0' } }],
  ['a key that would be lost', { packages: JSON.parse('{"__proto__":"1.0"}') }],
  ['anything else', { gpu: 'H100' }],
])('takes facts, not %s', (_, said) => {
  expect(declareRuntime.input.safeParse({ environment, ...said }).success).toBe(false);
});
