import { expect, test } from 'vitest';
import { parseMoment } from '../../src/audit/moment.ts';

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
])('%j is not a moment', (text) => {
  expect(parseMoment(text)).toBeNull();
});
