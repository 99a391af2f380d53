import { precedence } from '../../domain/versions.ts';
import { isAttribute } from '../../search/fields.ts';
import type { Comparison, FieldName, Filter } from '../../search/filter.ts';
import { periodOf } from '../../search/moment.ts';
import { compared, ranged } from './compare.ts';
import { wordsQuery } from './full-text.ts';
import type { Scope } from './scope.ts';
import { joined, list, type Sql, sql } from './sql.ts';

/**
 * Returns the condition of a filter on one row of a listing. It may be NULL where a model has no latest version; NULL counts
 * as false: AND and OR keep that, and NOT is written as IS NOT TRUE.
 */
export function condition(filter: Filter, scope: Scope): Sql {
  if (filter.kind === 'comparison') return comparisonOf(filter, scope);
  if (filter.kind === 'not') return sql`((${condition(filter.term, scope)}) IS NOT TRUE)`;
  const terms = filter.terms.map((term) => condition(term, scope));
  return sql`(${joined(terms, filter.kind === 'and' ? ' AND ' : ' OR ')})`;
}

function comparisonOf(comparison: Comparison, scope: Scope): Sql {
  const { field, comparator } = comparison;
  if (isAttribute(field)) {
    const is = compared(sql`a.value`, comparison);
    return sql`EXISTS (SELECT 1 FROM attribute a WHERE a.revision = v.revision AND a.key = ${scope.keyId(field)} AND ${is})`;
  }
  if (field.name === 'environment') return activeIn(comparison, scope);
  if (field.name === 'published_at') return publishedAt(sql`v.published_at`, comparison);
  if (comparator === 'contains') return sql`v.revision IN (${fullText(comparison)})`;
  if (field.name === 'version' && isRange(comparator)) return inPrecedence(sql`v.precedence`, comparator, comparison);
  return compared(columnOf(field.name as Column, scope), comparison);
}

/** Returns a comparison of what an index sorts by; null if the index does not help with it. */
export function onIndex(value: Sql, comparison: Comparison): Sql | null {
  const { field, comparator } = comparison;
  if (isAttribute(field) || field.name === 'revision') return compared(value, comparison);
  if (field.name === 'published_at') return publishedAt(value, comparison);
  return isRange(comparator) ? inPrecedence(value, comparator, comparison) : null;
}

function inPrecedence(expression: Sql, comparator: Range, { values }: Comparison): Sql {
  return ranged(expression, comparator, precedence(String(values[0])));
}

export type Column = Exclude<FieldName, 'tags' | 'params' | 'metrics' | 'environment'>;

export function columnOf(name: Column, { listing }: Scope): Sql {
  if (name === 'revision') return listing === 'models' ? sql`m.revision` : sql`v.revision`;
  return COLUMNS[name];
}

const COLUMNS: Record<Exclude<Column, 'revision'>, Sql> = {
  name: sql`m.name`,
  versions: sql`m.versions`,
  version: sql`v.version`,
  status: sql`v.status`,
  flavor: sql`v.flavor`,
  publisher: sql`v.published_by`,
  published_at: sql`v.published_at`,
  manifest_digest: sql`v.manifest_digest`,
  notes: sql`v.notes`,
};

type Range = '<' | '<=' | '>' | '>=';

function isRange(comparator: string): comparator is Range {
  return comparator.startsWith('<') || comparator.startsWith('>');
}

function activeIn({ comparator, values }: Comparison, scope: Scope): Sql {
  const active = activeVersions(values, scope);
  if (comparator === '=' || comparator === 'in') return sql`v.version IN (${active})`;
  // NULL NOT IN () is true, so a model without a latest version is excluded first.
  return sql`(v.version IS NOT NULL AND v.version NOT IN (${active}))`;
}

/** Selects the versions that are active in any of the environments. */
export function activeVersions(environments: Comparison['values'], { model }: Scope): Sql {
  return sql`SELECT e.version FROM environment e WHERE e.model = ${model} AND e.name IN (${list(environments)}) AND e.version IS NOT NULL`;
}

function publishedAt(at: Sql, { comparator, values }: Comparison): Sql {
  const { from, until } = periodOf(String(values[0]))!;
  if (comparator === '<') return ranged(at, '<', from);
  if (comparator === '<=') return ranged(at, '<', until);
  if (comparator === '>') return ranged(at, '>=', until);
  if (comparator === '>=') return ranged(at, '>=', from);
  return comparator === '='
    ? sql`(${at} >= ${from} AND ${at} < ${until})`
    : sql`(${at} < ${from} OR ${at} >= ${until})`;
}

/** Selects the revisions whose notes have all words. */
export function fullText({ values }: Comparison): Sql {
  const words = wordsQuery(String(values[0])) ?? '';
  return sql`SELECT rowid AS revision FROM notes_text WHERE notes_text MATCH ${words}`;
}
