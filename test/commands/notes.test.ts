import { expect, test } from 'vitest';
import { notes } from '../../src/commands/notes.ts';
import { activated, archived, did, given, published } from './support.ts';

test('replaces the notes of a version', () => {
  const { when } = given(published('1.0.0', { notes: 'old' }), activated('1.0.0'));
  const { gives, data } = when(notes, { version: '1.0.0', notes: 'new' });
  gives('notes.changed', { version: '1.0.0', notes: 'new' });
  expect(data?.active.production?.revision).toBe(2);
});

test('accepts empty notes, and notes of an archived version', () => {
  const { when } = given(published('1.0.0', { notes: 'old' }), archived('1.0.0'));
  when(notes, { version: '1.0.0', notes: '' }).gives('notes.changed', { notes: '' });
});

test('changes nothing if the notes are the same', () => {
  const { when } = given(published('1.0.0'), did(notes, { version: '1.0.0', notes: 'x' }), published('1.1.0'));
  when(notes, { version: '1.0.0', notes: 'x' }).changesNothing(3);
  when(notes, { version: '1.1.0', notes: '' }).changesNothing(3);
});

test('refuses an unknown model or version', () => {
  given().when(notes, { version: '1.0.0', notes: '' }).isRefused('unknown-model');
  given(published('1.0.0')).when(notes, { version: '2.0.0', notes: '' }).isRefused('unknown-version');
});

test('accepts at most 16 KiB of UTF-8', () => {
  const accepts = (text: string) => notes.input.safeParse({ version: '1.0.0', notes: text }).success;
  expect(accepts('x'.repeat(16 * 1024))).toBe(true);
  expect(accepts('x'.repeat(16 * 1024 + 1))).toBe(false);
  expect(accepts('€'.repeat(5462))).toBe(false);
});
