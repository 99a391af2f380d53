import { expect, test } from 'vitest';
import { archive } from '../../src/commands/archive.ts';
import { activated, archived, deactivated, given, published } from './support.ts';

test('takes a version out of use', () => {
  const { when, model } = given(published('1.0.0'), published('1.1.0'), activated('1.0.0'));
  const { gives, data } = when(archive, { version: '1.1.0', reason: 'poisoned' });
  gives('version.archived', { version: '1.1.0', reason: 'poisoned' });
  expect(data?.active.production?.revision).toBe(3);
  expect(model.latest).toBe('1.1.0');
  archived('1.1.0')(model);
  expect(model.latest).toBe('1.0.0');
});

test('accepts an archive without a reason', () => {
  given(published('1.0.0')).when(archive, { version: '1.0.0' }).gives('version.archived', { reason: null });
});

test('refuses to archive an active version and names the environments', () => {
  const everywhere = [activated('1.0.0'), activated('1.0.0', { environment: 'dev' })];
  const { when } = given(published('1.0.0'), ...everywhere);
  const fields = { version: '1.0.0', active_in: ['production', 'dev'] };
  when(archive, { version: '1.0.0' }).isRefused('version-active', fields);
});

test('archives a version after another one became active', () => {
  const { when } = given(published('1.0.0'), activated('1.0.0'), deactivated());
  when(archive, { version: '1.0.0' }).gives('version.archived');
});

test('changes nothing if the version is archived already', () => {
  given(published('1.0.0'), archived('1.0.0')).when(archive, { version: '1.0.0' }).changesNothing(2);
});

test('refuses an unknown model or version', () => {
  given().when(archive, { version: '1.0.0' }).isRefused('unknown-model');
  given(published('1.0.0')).when(archive, { version: '2.0.0' }).isRefused('unknown-version');
});
