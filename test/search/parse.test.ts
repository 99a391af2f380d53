import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Problem } from '../../src/domain/errors.ts';
import type { Filter } from '../../src/search/filter.ts';
import { parseOrder } from '../../src/search/order.ts';
import { parse } from '../../src/search/parse.ts';
import { filters, orders } from './filters.ts';
import { print, printOrder } from './print.ts';

const parsed = (where: string, environments?: string[]) =>
  parse(where, { listing: 'versions', ...(environments && { environments }) });
const printed = (where: string) => print(parsed(where)!);

function problemOf(act: () => unknown): Problem {
  try {
    act();
  } catch (error) {
    if (error instanceof Problem) return error;
    throw error;
  }
  throw new Error('it was accepted');
}

describe('a filter', () => {
  test.each([
    ["metrics.auc > 0.9 and tags.team = 'risk'", "metrics.`auc` > 0.9 and tags.`team` = 'risk'"],
    ['METRICS', null],
    ["status='ready'AND flavor!='onnx'", "status = 'ready' and flavor != 'onnx'"],
    ['metric.`val/auc` >= 1e-3', 'metrics.`val/auc` >= 0.001'],
    ['metrics.val/auc<>-.5', 'metrics.`val/auc` != -0.5'],
    [`tag."a b" = "it's"`, "tags.`a b` = 'it''s'"],
    ["tags.`a``b` = 'it''s'", "tags.`a``b` = 'it''s'"],
    ["param.depth In (1, '2', TRUE)", "params.`depth` in (1, '2', 'true')"],
    ["tags.mlflow.source.type NOT IN ('x')", "tags.`mlflow.source.type` not in ('x')"],
    ["attributes.published_by ilike 'USER:%'", "publisher ilike 'USER:%'"],
    ['a or b', null],
    [
      "status='ready' or flavor='x' and not (version>'1.0.0' or revision=1)",
      "status = 'ready' or (flavor = 'x' and not (version > '1.0.0' or revision = 1))",
    ],
    ["not not status = 'ready'", "not not status = 'ready'"],
    ['notes contains \'leaking "labels"\'', 'notes contains \'leaking "labels"\''],
    [
      "published_at >= '2026-05-01' and published_at < '2026-05-01T12:00:00.5+02:00'",
      "published_at >= '2026-05-01' and published_at < '2026-05-01T12:00:00.5+02:00'",
    ],
  ])('%s', (where, expected) => {
    if (expected === null) expect(() => parsed(where)).toThrow(Problem);
    else expect(printed(where)).toBe(expected);
  });

  test.each(['', ' \n\t'])('may be blank: %j', (where) => expect(parsed(where)).toBeNull());

  test('survives being printed and parsed', () => {
    fc.assert(
      fc.property(filters('models'), (filter: Filter) => {
        expect(parse(print(filter), { listing: 'models' })).toEqual(filter);
      }),
    );
  });

  test.each([
    ['metrics.auc > "high"', 15, 'a number'],
    ['tags.team = 1', 13, 'a text in quotes'],
    ['tags.team = risk', 13, 'a text in quotes'],
    ["status = 'redy'", 10, "'ready' or 'archived'"],
    ["status > 'ready'", 8, 'one of =, !=, IN, NOT IN'],
    ["version > '1.2'", 11, "a version in quotes such as '1.2.0'"],
    ["published_at > '2026-02-30'", 16, "a date or an RFC 3339 time in quotes such as '2026-05-01T12:00:00Z'"],
    ["environment = 'prod'", 15, "'production' or 'staging'"],
    ["(status = 'ready'", 18, 'and, or, or )'],
    ["status = 'ready')", 17, 'and, or, or the end'],
    ["status = 'ready' flavor = 'x'", 18, 'and, or, or the end'],
    ['status in ready', 11, '( and a list of values'],
    ["status in ('ready'", 19, 'a comma or )'],
    ["tags.team = 'risk", 18, "a closing '"],
    ['tags = 1', 5, 'a dot and a key, such as tags.name'],
    ['metrics.auc not like 1', 13, 'one of =, !=, <, <=, >, >=, IN, NOT IN'],
    ['metrics.auc > 1e999', 15, 'a number that a double can hold'],
    ["notes contains '--'", 16, 'a text in quotes with at least one letter or digit'],
    ["tags.\u{1F600} = 'x'", 6, 'a field, a value in quotes, a number or a comparator'],
    ['tags.`\u{1F600}` = 1', 12, 'a text in quotes'],
    ["tags.a = 'x\0'", 12, 'a character of Unicode other than NUL'],
  ])('%j is refused at column %i: expected %s', (where, position, expected) => {
    const problem = problemOf(() => parsed(where, ['production', 'staging']));
    expect(problem.code).toBe('invalid-request');
    expect(problem.fields).toEqual({ position, expected });
    expect(problem.message).toContain(`where, column ${position}: expected ${expected}, found `);
  });

  test.each([
    'foo = 1',
    'name = "m"',
    "run_id = 'x'",
    'status.x = 1',
    "__proto__ = 'x'",
    "constructor = 'x'",
    "tags.a = 'x' and",
    '= 1',
  ])('%s has no field where one is expected', (where) =>
    expect(problemOf(() => parsed(where)).fields.expected).toMatch(/^a field: version, /),
  );
});

describe('the limits of a filter', () => {
  const chain = (count: number) => Array.from({ length: count }, (_, i) => `revision=${i}`).join(' or ');
  const nested = (depth: number) => `${'('.repeat(depth)}revision=1${')'.repeat(depth)}`;
  const list = (count: number) => `revision in (${Array.from({ length: count }, (_, i) => i).join(',')})`;

  test.each([
    [
      '4,096 characters',
      `tags.a = '${'x'.repeat(4085)}'`,
      `tags.a = '${'x'.repeat(4086)}'`,
      4097,
      'at most 4096 characters',
    ],
    ['50 comparisons', chain(50), chain(51), chain(50).length + 5, 'at most 50 comparisons'],
    ['a nesting of 10', nested(10), nested(11), 11, 'at most 10 levels of parentheses and not'],
    [
      'a nesting of 10 not',
      `${'not '.repeat(10)}revision=1`,
      `${'not '.repeat(11)}revision=1`,
      41,
      'at most 10 levels of parentheses and not',
    ],
    ['100 values', list(100), list(101), list(100).length + 1, 'at most 100 values'],
    [
      '256 characters of a pattern',
      `notes like '${'x'.repeat(256)}'`,
      `notes like '${'x'.repeat(257)}'`,
      12,
      'a pattern in quotes of at most 256 characters',
    ],
    [
      '512 characters of a key',
      `tags.\`${'x'.repeat(512)}\`='a'`,
      `tags.\`${'x'.repeat(513)}\`='a'`,
      6,
      'a key of 1 to 512 characters',
    ],
  ])('%s', (_, accepted, refused, position, expected) => {
    expect(parsed(accepted)).not.toBeNull();
    expect(problemOf(() => parsed(refused)).fields).toEqual({ position, expected });
  });

  test.each(['(', 'not ', "tags.a='", '`', 'revision in (1,', '1', 'a.', "''", 'and '])(
    '%j, repeated, is refused',
    (piece) => {
      expect(problemOf(() => parsed(piece.repeat(100_000))).code).toBe('invalid-request');
      expect(problemOf(() => parsed(piece.repeat(4096).slice(0, 4096))).code).toBe('invalid-request');
    },
  );
});

test('no text leads to another error than a Problem with a position inside of it', () => {
  const pieces = [
    'tags.a',
    'metrics."b"',
    'status',
    '=',
    '>=',
    'in',
    '(',
    ')',
    ',',
    "'x'",
    "'",
    '"',
    '`',
    '1',
    '-',
    'and',
    'or',
    'not',
    'like',
    'contains',
    ' ',
    '\u{1F600}',
    ';',
    '--',
  ];
  const texts = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.array(fc.constantFrom(...pieces)).map((some) => some.join(' ')),
  );
  fc.assert(
    fc.property(texts, (text) => {
      for (const act of [() => parsed(text), () => parseOrder(text, 'models')]) {
        try {
          act();
        } catch (error) {
          expect(error).toBeInstanceOf(Problem);
          const { position } = (error as Problem).fields;
          expect(position).toBeGreaterThanOrEqual(1);
          expect(position).toBeLessThanOrEqual([...text].length + 1);
        }
      }
    }),
    { numRuns: 2000 },
  );
});

describe('an order', () => {
  test.each([
    ['', ''],
    ['metrics.auc desc', 'metrics.`auc` desc'],
    ['version, tag."a b" ASC,published_by DESC', 'version asc, tags.`a b` asc, publisher desc'],
  ])('%j', (orderBy, expected) => expect(printOrder(parseOrder(orderBy, 'versions'))).toBe(expected));

  test('survives being printed and parsed', () => {
    fc.assert(
      fc.property(orders('models'), (order) => {
        expect(parseOrder(printOrder(order), 'models')).toEqual(order);
      }),
    );
  });

  test.each([
    ['notes', 1, 'a field with an order: any but notes and environment'],
    ['version down', 9, 'asc, desc, a comma or the end'],
    ['version,', 9, /^a field: /],
    ['name', 1, /^a field: version, /],
    ['version, status, flavor, revision', 26, 'at most 3 fields'],
    ["tags.'a b'", 6, /^a key, /],
  ])('%j is refused at column %i', (orderBy, position, expected) => {
    const problem = problemOf(() => parseOrder(orderBy, 'versions'));
    expect(problem.fields.position).toBe(position);
    expect(problem.fields.expected).toEqual(typeof expected === 'string' ? expected : expect.stringMatching(expected));
    expect(problem.message).toContain(`order_by, column ${position}: expected `);
  });
});
