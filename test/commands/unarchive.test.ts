import { expect, test } from 'vitest';
import { activate } from '../../src/commands/activate.ts';
import { unarchive } from '../../src/commands/unarchive.ts';
import { activated, archived, did, given, published } from './support.ts';

test('puts an archived version back into use', () => {
  const history = [published('1.0.0'), published('1.1.0'), activated('1.0.0'), archived('1.1.0')];
  const { gives, data } = given(...history).when(unarchive, { version: '1.1.0', reason: 'it was clean' });
  gives('version.restored', { version: '1.1.0', reason: 'it was clean' });
  expect(data?.active.production?.revision).toBe(3);
  const { when, model } = given(...history, did(unarchive, { version: '1.1.0' }));
  expect(model.latest).toBe('1.1.0');
  when(activate, { version: '1.1.0' }).gives('version.activated');
});

test('changes nothing if the version is in use', () => {
  given(published('1.0.0'), published('1.1.0')).when(unarchive, { version: '1.0.0' }).changesNothing(2);
});

test('refuses an unknown model or version', () => {
  given().when(unarchive, { version: '1.0.0' }).isRefused('unknown-model');
  given(published('1.0.0')).when(unarchive, { version: '2.0.0' }).isRefused('unknown-version');
});
