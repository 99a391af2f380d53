import fc from 'fast-check';
import { comparatorsOf, isOrderable, typeOf } from '../../src/search/fields.ts';
import type { Comparator, Comparison, FieldRef, Filter, Listing, OrderTerm, Value } from '../../src/search/filter.ts';

/** Keys and values of few kinds, so that random filters meet random versions. */
export const KEYS = ['a', 'val/auc', 'a b', '`"', "x'; DROP TABLE version; --"];
export const TEXTS = [
  'risk',
  'Risk',
  'ads',
  '5',
  '5.0',
  'a_b',
  'a%b',
  '*?[',
  "o'neil",
  'é',
  '\u{1F600}',
  '\uFB01',
  'true',
  '',
];
export const NUMBERS = [0, 1, -1, 5, 0.5, 0.9, 1e-7, 1e21, 123456789];
export const VERSIONS = [
  '0.9.0',
  '1.0.0-rc.1',
  '1.0.0-rc.10',
  '1.0.0-rc.2',
  '1.0.0',
  '1.2.0',
  '1.10.0',
  '2.0.0-0',
  '2.0.0',
  '10.0.0',
];
export const WORDS = ['leak', 'fixed', 'Retrained', 'july', 'OR', 'NOT', 'recall'];
export const TIMES = [
  '2026-05-01',
  '2026-05-02',
  '2026-05-01T12:00:00Z',
  '2026-05-01T14:00:00.500+02:00',
  '2026-05-02T00:00:00Z',
];
export const ENVIRONMENTS = ['production', 'staging', 'dev'];
export const FLAVORS = ['sklearn', 'onnx', 'custom'];
export const PUBLISHERS = ['user:ana', 'key:ci'];
export const digestOf = (revision: number) => `sha256:${String(revision).padStart(64, '0')}`;

const one = <T>(values: readonly T[]) => fc.constantFrom(...values);
const PATTERNS = ['%', '_', 'r%', '%s%', 'a_b', '%K', '*', '[a-z]%', '1.%', '%.0', 'sk%', '%é%'];

const VERSION_FIELDS: FieldRef[] = [
  ...(['version', 'status', 'environment', 'flavor', 'publisher'] as const),
  ...(['published_at', 'revision', 'manifest_digest', 'notes'] as const),
].map((name) => ({ name }));
const MODEL_FIELDS: FieldRef[] = [{ name: 'name' }, { name: 'versions' }, ...VERSION_FIELDS];

export function fields(listing: Listing): fc.Arbitrary<FieldRef> {
  const attributes = fc.record({ name: one(['tags', 'params', 'metrics'] as const), key: one(KEYS) });
  return fc.oneof(one(listing === 'models' ? MODEL_FIELDS : VERSION_FIELDS), { arbitrary: attributes, weight: 2 });
}

function valuesOf(field: FieldRef, comparator: Comparator): fc.Arbitrary<Value> {
  if (comparator === 'like' || comparator === 'ilike') return one(PATTERNS);
  if (comparator === 'contains')
    return fc.array(one(WORDS), { minLength: 1, maxLength: 2 }).map((words) => words.join(' '));
  if (field.name === 'name') return one(['m1', 'm2', 'm3']);
  if (field.name === 'flavor') return one(FLAVORS);
  if (field.name === 'publisher') return one(PUBLISHERS);
  if (field.name === 'manifest_digest') return fc.nat(30).map(digestOf);
  if (field.name === 'revision' || field.name === 'versions') return fc.nat(40);
  const byType = {
    text: TEXTS,
    number: NUMBERS,
    scalar: [...TEXTS, ...NUMBERS],
    version: VERSIONS,
    status: ['ready', 'archived'],
  };
  const others = { time: TIMES, notes: ['leak', 'leak fixed'], environment: ENVIRONMENTS };
  return one<Value>({ ...byType, ...others }[typeOf(field)]);
}

export function comparisons(listing: Listing): fc.Arbitrary<Comparison> {
  return fields(listing).chain((field) =>
    one(comparatorsOf(field)).chain((comparator) => {
      const several = comparator === 'in' || comparator === 'not in';
      const values = fc.array(valuesOf(field, comparator), { minLength: 1, maxLength: several ? 3 : 1 });
      return values.map((values): Comparison => ({ kind: 'comparison', field, comparator, values }));
    }),
  );
}

/** Filters of any shape, at most three levels deep. */
export function filters(listing: Listing): fc.Arbitrary<Filter> {
  const { filter } = fc.letrec<{ filter: Filter }>((tie) => ({
    filter: fc.oneof(
      { maxDepth: 3, depthSize: 'small' },
      { arbitrary: comparisons(listing), weight: 3 },
      fc.record({ kind: one(['and', 'or'] as const), terms: fc.array(tie('filter'), { minLength: 2, maxLength: 3 }) }),
      fc.record({ kind: fc.constant('not' as const), term: tie('filter') }),
    ),
  }));
  return filter;
}

export function orders(listing: Listing): fc.Arbitrary<OrderTerm[]> {
  const term = fc.record({ field: fields(listing).filter(isOrderable), descending: fc.boolean() });
  return fc.array(term, { maxLength: 3 });
}
