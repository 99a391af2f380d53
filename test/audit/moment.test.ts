import { expect, test } from 'vitest';
import { parseMoment } from '../../src/audit/moment.ts';
import { spelledDuration } from '../../src/audit/pictures/duration.ts';

test.each([
  ['0', { revision: 0 }],
  ['57', { revision: 57 }],
  ['2026-03-03', { at: Date.UTC(2026, 2, 3) }],
  ['2026-03-03 14:05', { at: Date.UTC(2026, 2, 3, 14, 5) }],
  ['2026-03-03T14:05:06.789Z', { at: Date.UTC(2026, 2, 3, 14, 5, 6, 789) }],
  ['2026-03-03t14:05:06z', { at: Date.UTC(2026, 2, 3, 14, 5, 6) }],
  ['2026-03-03T15:05:00+01:00', { at: Date.UTC(2026, 2, 3, 14, 5) }],
])('%s is a moment', (text, moment) => {
  expect(parseMoment(text)).toEqual(moment);
});

test.each([
  '',
  '-1',
  '1.5',
  'yesterday',
  '2026-02-30',
  '2026-13-01',
  '2026-03-03T25:00',
  '03.03.2026',
  '2026-03-03 14',
])('%s is none', (text) => {
  expect(parseMoment(text)).toBeNull();
});

test.each([
  [0, '0 s'],
  [59, '59 s'],
  [60, '1 min'],
  [3_725, '1 h 2 min'],
  [90_000, '1 d 1 h'],
  [86_401, '1 d'],
])('%i seconds are %s', (seconds, text) => {
  expect(spelledDuration(seconds)).toBe(text);
});
