import { describe, expect, test } from 'vitest';
import type { Connection } from '../../../src/projections/read-model/connection.ts';
import { countVersions, findVersions } from '../../../src/projections/search/versions.ts';
import { parseOrder } from '../../../src/search/order.ts';
import { parse } from '../../../src/search/parse.ts';
import { addModel, addVersion, emptyReadModel, setActive, type Version } from './read-model.ts';

const base: Omit<Version, 'version' | 'revision'> = {
  status: 'ready',
  flavor: 'sklearn',
  notes: 'Fixes the leaking labels, see val-auc',
  published_at: Date.parse('2026-05-01T12:00:00Z'),
  published_by: 'user:ana',
  manifest_digest: 'sha256:00',
  attributes: { 'tags.team': 'risk', 'params.depth': 5, 'params.seed': '7', 'metrics.auc': 0.91 },
};

function oneVersion(attributes: Version['attributes'] = {}): Connection {
  const db = emptyReadModel();
  addModel(db, 1, 'm');
  addVersion(db, 1, { ...base, version: '1.0.0', revision: 1, attributes: { ...base.attributes, ...attributes } });
  setActive(db, 1, 'production', '1.0.0');
  return db;
}

function matches(where: string, db = oneVersion()): boolean {
  const filter = parse(where, { listing: 'versions' });
  const found = findVersions(db, { model: 1, filter, order: [], after: null, limit: 10 });
  expect(countVersions(db, 1, filter, 10)).toBe(found.length);
  return found.length === 1;
}

describe('what a filter means', () => {
  test.each([
    ["tags.team != 'ads'", true],
    ["tags.other != 'ads'", false],
    ["not (tags.other = 'ads')", true],
    ["tags.team like 'R%'", false],
    ["tags.team ilike 'R%'", true],
    ["tags.team like 'ri_k'", true],
    ["tags.team like 'r*'", false],
    ["params.depth = '5'", true],
    ['params.seed = 7', true],
    ['params.seed != 7', false],
    ["params.seed in ('x', '7')", true],
    ['params.seed > 6', false],
    ["params.depth > '4'", false],
    ['params.depth > 4', true],
    ["params.depth like '5%'", false],
    ["published_at = '2026-05-01'", true],
    ["published_at > '2026-05-01'", false],
    ["published_at <= '2026-05-01'", true],
    ["published_at = '2026-05-01T14:00:00+02:00'", true],
    ["version > '1.0.0-rc.1'", true],
    ["notes contains 'LEAKING labels'", true],
    ["notes contains 'labels leaking'", true],
    ["notes contains 'val-auc'", true],
    ["notes contains 'auc-val'", true],
    ["notes contains 'auc-loss'", false],
    ["notes contains 'leak'", false],
    ["notes contains 'leaking NOT labels'", false],
    ["notes contains 'notes:leaking'", false],
    ["environment = 'production'", true],
    ["environment not in ('staging', 'dev')", true],
  ])('%s: %s', (where, expected) => expect(matches(where)).toBe(expected));
});

describe('a value never becomes SQL or a search expression', () => {
  const attacks = [
    "'; DROP TABLE version; --",
    "x' OR '1'='1",
    '?',
    '?1',
    ':a',
    '$a',
    '"',
    "''",
    '\\',
    '%00',
    'a" OR notes : "b',
    'leak*',
    'NEAR(a b)',
    '^a',
    '(',
    'AND',
    '-a',
    'a + b',
  ];
  const quoted = (text: string) => `'${text.replaceAll("'", "''")}'`;

  test.each(attacks)('%s', (attack) => {
    const db = oneVersion({ [`tags.${attack}`]: attack, 'tags.same': attack });
    const key = `tags.\`${attack.replaceAll('`', '``')}\``;
    expect(matches(`${key} = ${quoted(attack)} and tags.same in (${quoted(attack)})`, db)).toBe(true);
    expect(matches(`${key} != ${quoted(attack)} or flavor = ${quoted(attack)}`, db)).toBe(false);
    expect(matches(`notes contains ${quoted(`leaking ${attack} missing`)}`, db)).toBe(false);
    const order = parseOrder(`${key} desc`, 'versions');
    expect(findVersions(db, { model: 1, filter: null, order, after: null, limit: 1 })).toHaveLength(1);
    expect(db.query('SELECT count(*) AS n FROM version').get()).toEqual({ n: 1 });
  });
});

test('the largest filters that can be written are compiled and run', () => {
  const list = Array.from({ length: 100 }, (_, i) => i).join(',');
  const shapes = [
    Array.from({ length: 50 }, (_, i) => `params.p${i} != 'x'`).join(' and '),
    Array.from({ length: 50 }, (_, i) => `not (metrics.m${i} > 0)`).join(' or '),
    Array.from({ length: 9 }, () => `params.depth in (${list})`).join(' and '),
    `${'not ('.repeat(5)}tags.a = 'x' or tags.b = 'y'${')'.repeat(5)}`,
    Array.from({ length: 50 }, (_, i) => `notes contains 'w${i}'`).join(' or '),
  ];
  for (const where of shapes) {
    const filter = parse(where, { listing: 'versions' });
    const order = parseOrder('tags.a, tags.b desc, metrics.c', 'versions');
    expect(() => findVersions(oneVersion(), { model: 1, filter, order, after: null, limit: 10 })).not.toThrow();
  }
});
