import fc from 'fast-check';
import { expect, test } from 'vitest';
import { visible, visibleJson } from '../../src/domain/visible.ts';

const UNSEEN: [what: string, text: string][] = [
  ['an escape', '\u001b'],
  ['a C1 control', '\u009b'],
  ['a line end', '\n'],
  ...['\u202a', '\u202b', '\u202c', '\u202d', '\u202e'].map((text): [string, string] => [
    'an embedding or override',
    text,
  ]),
  ...['\u2066', '\u2067', '\u2068', '\u2069'].map((text): [string, string] => ['an isolate', text]),
  ...['\u200e', '\u200f', '\u061c'].map((text): [string, string] => ['a direction mark', text]),
  ['a zero-width space', '\u200b'],
  ['a byte-order mark', '\ufeff'],
  ['a soft hyphen', '\u00ad'],
  ['a tag', '\u{e0041}'],
  ['a line separator', '\u2028'],
  ['a paragraph separator', '\u2029'],
  ['half a surrogate pair', '\ud800'],
];

test.each(UNSEEN)('replaces %s by a space, and by an escape in JSON', (_, text) => {
  expect(visible(`a${text}${text}b`)).toBe('a b');
  const json = visibleJson(JSON.stringify({ text: `a${text}b` }));
  expect(visible(json)).toBe(json);
  expect(JSON.parse(json)).toEqual({ text: `a${text}b` });
});

test.each(['1.2.0-rc.1', 'Łódź – 東京, שלום', '👍🏽 ✓', 'a\u0301'])('does not change %s', (text) => {
  expect(visible(text)).toBe(text);
});

test('keeps the value and the indentation of JSON', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const json = JSON.stringify(value, null, 2);
      expect(JSON.parse(visibleJson(json))).toEqual(JSON.parse(json));
      expect(visibleJson(json).split('\n')).toHaveLength(json.split('\n').length);
    }),
  );
});
