import { expect, test } from 'vitest';
import { deactivate } from '../../src/commands/deactivate.ts';
import { activated, deactivated, given, published } from './support.ts';

const ask = { reason: 'leaks' };

test('leaves one environment without an active version and the others unchanged', () => {
  const { when } = given(published('1.0.0'), activated('1.0.0'), activated('1.0.0', { environment: 'dev' }));
  const { gives, data } = when(deactivate, ask);
  gives('version.deactivated', { environment: 'production', version: null, previous: '1.0.0', reason: 'leaks' });
  expect(data?.active).toMatchObject({ production: null, staging: null, dev: { version: '1.0.0', revision: 3 } });
});

test('refuses if no version is active', () => {
  const fields = { environment: 'production' };
  given(published('1.0.0')).when(deactivate, ask).isRefused('no-active-version', fields);
  given(published('1.0.0'), activated('1.0.0'), deactivated())
    .when(deactivate, ask)
    .isRefused('no-active-version', fields);
});

test('refuses an unknown model or environment', () => {
  given().when(deactivate, ask).isRefused('unknown-model');
  given(published('1.0.0'))
    .when(deactivate, { ...ask, environment: 'qa' })
    .isRefused('unknown-environment', { environments: ['production', 'staging', 'dev'] });
});

test('needs a reason', () => expect(deactivate.input.safeParse({}).success).toBe(false));
