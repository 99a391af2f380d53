import { expect, test } from 'vitest';
import { archive } from '../../src/commands/archive.ts';
import { latestVersion } from '../../src/domain/model.ts';
import { activated, archived, deactivated, given, published } from './support.ts';

test('takes a version out of use', () => {
  const { when, model } = given(published('1.0.0'), published('1.1.0'), activated('1.0.0'));
  const { gives, data } = when(archive, { version: '1.1.0', reason: 'poisoned' });
  gives('version.archived', { version: '1.1.0', reason: 'poisoned' });
  expect(data?.active.production?.revision).toBe(3);
  expect(latestVersion(model)).toBe('1.1.0');
  archived('1.1.0')(model);
  expect(latestVersion(model)).toBe('1.0.0');
});

test('needs no reason', () => {
  given(published('1.0.0')).when(archive, { version: '1.0.0' }).gives('version.archived', { reason: null });
});

test('is refused while the version is active, naming where', () => {
  const everywhere = [activated('1.0.0'), activated('1.0.0', { environment: 'dev' })];
  const { when } = given(published('1.0.0'), ...everywhere);
  const fields = { version: '1.0.0', active_in: ['production', 'dev'] };
  when(archive, { version: '1.0.0' }).isRefused('version-active', fields);
});

test('is possible once it no longer is', () => {
  const { when } = given(published('1.0.0'), activated('1.0.0'), deactivated());
  when(archive, { version: '1.0.0' }).gives('version.archived');
});

test('of an archived version changes nothing', () => {
  given(published('1.0.0'), archived('1.0.0')).when(archive, { version: '1.0.0' }).changesNothing(2);
});

test('is refused for a model or a version that is not there', () => {
  given().when(archive, { version: '1.0.0' }).isRefused('unknown-model');
  given(published('1.0.0')).when(archive, { version: '2.0.0' }).isRefused('unknown-version');
});
