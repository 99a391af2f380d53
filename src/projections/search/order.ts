import { Problem } from '../../domain/errors.ts';
import { isAttribute } from '../../search/fields.ts';
import type { FieldRef, OrderTerm } from '../../search/filter.ts';
import type { Connection } from '../read-model/connection.ts';
import { type Column, columnOf } from './conditions.ts';
import type { Scope } from './scope.ts';
import { joined, rowOf, type Sql, type SqlValue, sql } from './sql.ts';

/** One term of an order in SQL. */
export interface SortKey {
  field: FieldRef;
  expression: Sql;
  descending: boolean;
  /** The id of the tag, param or metric; null for a column. */
  attribute: number | null;
  /** What its index sorts by, as part of a row d: the values of the attribute, or a column; null if it has no index. */
  index: Sql | null;
  /**
   * Whether the value can change after publication. If it can, a cursor carries it. Otherwise the cursor's revision leads to
   * it, which keeps page tokens short: a tag may be as long as a manifest.
   */
  changes: boolean;
}

/** Where a page ended: the last entry's revision and name, and those of its sort keys that can change. Plain JSON. */
export interface Cursor {
  /** The revision at which the version was published; null for a model without a latest version. */
  revision: number | null;
  /** The name of the model, in the listing of models. */
  name?: string | undefined;
  values: (SqlValue | null)[];
}

/** A sort key and its value at a cursor. */
export type Bound = SortKey & { value: SqlValue | null };

export function sortKeys(order: OrderTerm[], scope: Scope): SortKey[] {
  return order.map(({ field, descending }) => {
    if (!isAttribute(field)) return { ...column(field.name as Column, scope), field, descending, attribute: null };
    const attribute = scope.keyId(field);
    const expression = sql`(SELECT value FROM attribute WHERE revision = v.revision AND key = ${attribute})`;
    return { field, expression, descending, attribute, index: sql`d.value`, changes: false };
  });
}

function column(name: Column, scope: Scope): Pick<SortKey, 'expression' | 'index' | 'changes'> {
  if (name === 'version') return { expression: sql`v.precedence`, index: sql`d.precedence`, changes: false };
  const changes = ['status', 'name', 'versions'].includes(name) || (name === 'revision' && scope.listing === 'models');
  return { expression: columnOf(name, scope), index: INDEXED[name] ?? null, changes };
}

const INDEXED: Partial<Record<Column, Sql>> = { published_at: sql`d.published_at`, revision: sql`d.revision` };

/**
 * Returns the sort keys with their values at a cursor. Its version must be of a model that the caller may see: a cursor is not
 * signed, and the values of any other version would show in where the page begins.
 *
 * @throws {Problem} invalid-request if it is not of the model
 */
export function boundsAt(db: Connection, keys: SortKey[], { revision, values }: Cursor, model: Sql): Bound[] {
  if (revision !== null) {
    const query = sql`SELECT revision FROM version WHERE revision = ${revision} AND model = ${model}`;
    if (rowOf(db, query) === null) throw otherListing();
  }
  const kept = values.values();
  return keys.map((key) => {
    if (key.changes) return { ...key, value: kept.next().value ?? null };
    const query = sql`SELECT ${key.expression} AS value FROM version v WHERE v.revision = ${revision ?? 0}`;
    return { ...key, value: rowOf<{ value: SqlValue | null }>(db, query)?.value ?? null };
  });
}

/** The problem of a cursor or token that no page of this listing ended with, or not in the log as it is now. */
export function otherListing(): Problem {
  return new Problem('invalid-request', 'The page_token belongs to another listing. Start without one.');
}

/**
 * Returns the condition that an entry comes after the bounds; `last` is the condition if all keys are equal. NULL comes last
 * in both directions.
 */
export function after(bounds: Bound[], last: Sql): Sql {
  return bounds.reduceRight((rest, { expression, descending, value }) => {
    if (value === null) return sql`(${expression} IS NULL AND ${rest})`;
    const beyond = descending ? sql`${expression} < ${value}` : sql`${expression} > ${value}`;
    return sql`(${beyond} OR ${expression} IS NULL OR (${expression} = ${value} AND ${rest}))`;
  }, last);
}

export function orderBy(keys: Pick<SortKey, 'expression' | 'descending'>[], last: Sql): Sql {
  const terms = keys.map(({ expression, descending }) =>
    descending ? sql`${expression} DESC` : sql`${expression} ASC NULLS LAST`,
  );
  return sql`ORDER BY ${joined([...terms, last], ', ')}`;
}

/** Returns the keys that a cursor carries, as columns k0, k1, … of a row. */
export function keptColumns(keys: SortKey[]): Sql {
  const names = [sql`k0`, sql`k1`, sql`k2`, sql`k3`];
  const kept = keys.filter(({ changes }) => changes);
  return joined(
    kept.map(({ expression }, i) => sql`, ${expression} AS ${names[i]!}`),
    '',
  );
}

export function keptValues(keys: SortKey[], row: Record<string, SqlValue | null>): (SqlValue | null)[] {
  return keys.filter(({ changes }) => changes).map((_, i) => row[`k${i}`] ?? null);
}
