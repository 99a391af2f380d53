import { isAttribute } from '../../search/fields.ts';
import type { Comparison, Filter } from '../../search/filter.ts';
import type { Connection } from '../read-model/connection.ts';
import { compared } from './compare.ts';
import { activeVersions, condition, fullText } from './conditions.ts';
import type { Scope } from './scope.ts';
import { joined, rowOf, type Sql, sql } from './sql.ts';

/** How many comparisons of a filter are counted: each takes up to a millisecond. */
const COUNTED = 6;

/** The versions that meet a condition, as an index knows them. */
export interface Matches {
  /** Selects their revisions. */
  revisions: Sql;
  /** How many they are at most; infinite if they are not few. */
  size: number;
  /** Whether SQLite selects them in order, so that looking them up reads each page of the file once. */
  sorted: boolean;
  /** What it takes to make a list of them, in microseconds. */
  cost: number;
}

/** A condition that every match meets: one of the terms of the outermost `and`. */
export interface Conjunct {
  /** On the row v. */
  condition: Sql;
  /** Null if no index knows them, and beyond the first comparisons. */
  matches: Matches | null;
  /** How many comparisons it has. */
  comparisons: number;
  /** Itself, if it is a single comparison. */
  comparison: Comparison | null;
}

export interface Counting {
  db: Connection;
  scope: Scope;
  /** The versions of the model. */
  total: number;
  /** Fewer matches than this are counted. */
  few: number;
}

/** Takes a filter of versions apart, and counts the matches of its first comparisons. */
export function conjunctsOf(filter: Filter | null, counting: Counting): Conjunct[] {
  const counter = new Counter(counting);
  const { scope } = counting;
  return flat(filter).map((term) => ({
    condition: condition(term, scope),
    matches: counter.matches(term),
    comparisons: comparisonsIn(term),
    comparison: term.kind === 'comparison' ? term : null,
  }));
}

function flat(filter: Filter | null): Filter[] {
  if (filter === null) return [];
  return filter.kind === 'and' ? filter.terms.flatMap(flat) : [filter];
}

function comparisonsIn(filter: Filter): number {
  if (filter.kind === 'comparison') return 1;
  const terms = filter.kind === 'not' ? [filter.term] : filter.terms;
  return terms.reduce((sum, term) => sum + comparisonsIn(term), 0);
}

class Counter {
  readonly #counting: Counting;
  #counted = 0;

  constructor(counting: Counting) {
    this.#counting = counting;
  }

  matches(filter: Filter): Matches | null {
    if (filter.kind === 'not') return null;
    if (filter.kind === 'comparison') return this.#ofComparison(filter);
    const terms = filter.terms.map((term) => this.matches(term));
    if (!terms.every((term) => term !== null)) return null;
    return filter.kind === 'and' ? intersection(terms) : union(terms);
  }

  #ofComparison(comparison: Comparison): Matches | null {
    const { db, scope, total, few } = this.#counting;
    const revisions = revisionsOf(comparison, scope);
    if (!revisions || ++this.#counted > COUNTED) return null;
    const query = sql`SELECT count(*) AS size FROM (SELECT 1 FROM (${revisions}) LIMIT ${few})`;
    const { size } = rowOf<{ size: number }>(db, query)!;
    // The index has the revisions of one value in order.
    const sorted = comparison.comparator === '=';
    const each = sorted ? SORTED : UNSORTED;
    return size < few
      ? { revisions, size, sorted, cost: size * each }
      : { revisions, size: Number.POSITIVE_INFINITY, sorted, cost: total * each };
  }
}

/** Microseconds to add a revision to a list. */
const SORTED = 0.1;
const UNSORTED = 0.35;

function intersection(terms: Matches[]): Matches {
  const size = Math.min(...terms.map((term) => term.size));
  return {
    revisions: sql`SELECT revision FROM (${joined(terms.map(selected), ' INTERSECT ')})`,
    size,
    sorted: true,
    cost: costOf(terms),
  };
}

function union(terms: Matches[]): Matches {
  const size = terms.reduce((sum, term) => sum + term.size, 0);
  return {
    revisions: sql`SELECT revision FROM (${joined(terms.map(selected), ' UNION ')})`,
    size,
    sorted: true,
    cost: costOf(terms),
  };
}

function selected({ revisions }: Matches): Sql {
  return revisions;
}

/** Each term is put into a table first. */
function costOf(terms: Matches[]): number {
  return 2 * terms.reduce((sum, { cost }) => sum + cost, 0);
}

function revisionsOf(comparison: Comparison, scope: Scope): Sql | null {
  const { field, comparator, values } = comparison;
  const { model } = scope;
  if (isAttribute(field)) {
    const is = compared(sql`value`, comparison);
    return sql`SELECT revision FROM attribute WHERE model = ${model} AND key = ${scope.keyId(field)} AND ${is}`;
  }
  if (comparator === 'contains') return fullText(comparison);
  if (comparator !== '=' && comparator !== 'in') return null;
  const versions = sql`SELECT revision FROM version WHERE model = ${model} AND`;
  if (field.name === 'version') return sql`${versions} ${compared(sql`version`, comparison)}`;
  if (field.name === 'revision') return sql`${versions} ${compared(sql`revision`, comparison)}`;
  return field.name === 'environment' ? sql`${versions} version IN (${activeVersions(values, scope)})` : null;
}
