import { expect, test } from 'vitest';
import { bars } from '../../../src/audit/pictures/bars.ts';
import { lanesOf } from '../../../src/audit/pictures/lanes.ts';
import { timelinePage } from '../../../src/audit/pictures/page.ts';
import type { MoveMade, Tenure } from '../../../src/audit/reports/tenure.ts';

const DAY = 86_400_000;

function tenure(version: string | null, from: number, to: number | null, more: Partial<MoveMade> = {}): Tenure {
  const made = (day: number): MoveMade => {
    const time = new Date(day * DAY).toISOString();
    return { revision: day + 1, type: 'version.activated', time, actor: 'ana', reason: null };
  };
  const place = { model: 'fraud', environment: 'production' };
  return { ...place, version, began: { ...made(from), ...more }, ended: to === null ? null : made(to) };
}

const span = { from: 0, to: 10 * DAY };

test('draws each version in proportion to its time', () => {
  const lanes = lanesOf([tenure('1.0.0', 0, 4), tenure(null, 4, 5), tenure('1.1.0', 5, null)]);
  expect(bars(lanes, span, 32)).toEqual([
    'fraud',
    'production  aaaaaaaa··bbbbbbbbbb',
    '            1970-01-01 00:00 1970-01-11 00:00',
    'a 1.0.0   b 1.1.0   · none',
    '',
  ]);
});

test('shows the version that was active longest if several share a column', () => {
  const lanes = lanesOf([tenure('1.0.0', 0, 1), tenure('1.1.0', 1, 4), tenure('1.2.0', 4, 100)]);
  const [, row] = bars(lanes, { from: 0, to: 100 * DAY }, 32);
  expect(row).toBe(`production  b${'c'.repeat(19)}`);
});

test('renders a page without scripts and other files, and escapes text from the log', () => {
  const hostile = `<script>alert(1)</script>"'&\u202e`;
  const made = { actor: hostile, reason: hostile, type: 'version.rolled_back' as const };
  const first = tenure('1.0.0', 0, 4, made);
  const lanes = lanesOf([
    { ...first, ended: { ...first.ended!, ...made } },
    { ...tenure(hostile, 4, null), environment: hostile },
  ]);
  const page = timelinePage({ lanes, span, name: hostile, revision: 5, findings: [hostile] });
  expect(page).not.toContain('<script');
  expect(page).not.toContain(`"'&`);
  expect(page).not.toMatch(/\p{Cf}/u);
  expect(page.match(/&#60;script&#62;/g)!.length).toBeGreaterThan(6);
  expect(page).not.toMatch(/(src|href|url)\s*=|https?:|@import/);
  expect(page.match(/<tr>/g)).toHaveLength(1 + 2);
  expect(page).toContain('4 d');
});

test('states on the page that no version was ever active', () => {
  const page = timelinePage({ lanes: [], span: { from: 0, to: 0 }, name: 'log', revision: 0, findings: [] });
  expect(page).toContain('No version was ever active.');
});
