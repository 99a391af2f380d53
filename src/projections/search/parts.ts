import { sameField } from '../../search/fields.ts';
import type { FieldRef } from '../../search/filter.ts';
import { onIndex } from './conditions.ts';
import type { Conjunct } from './conjuncts.ts';
import { after, type Bound, keptColumns, orderBy, type SortKey } from './order.ts';
import { all, type Sql, type SqlValue, sql } from './sql.ts';

/** Where a page begins: behind the version of this revision, which has these values. */
export interface Place {
  bounds: Bound[];
  revision: number;
}

/**
 * A part of an order that can be read along an index: the values of an attribute or a column, with the revision. An order by
 * an attribute has a part for the versions that have it, and further ones, by the remaining keys, for those that do not.
 *
 * In its SQL, d is the entry of the index, and v the version. Conditions on d are checked before v is looked up.
 */
export interface Part {
  /** What the index sorts by, before the revision if that is something else. */
  field: FieldRef;
  value: Sql;
  /** The attribute that it holds the values of; null if it is an index of `version`. */
  attribute: number | null;
  keys: SortKey[];
  /** The attributes that its versions do not have. */
  without: number[];
  place: Place | null;
}

/**
 * Divides an order into parts, from a place on; null if the last one has no index. `required` are the attributes that every
 * match has.
 */
export function partsOf(keys: SortKey[], place: Place | null, required: FieldRef[]): Part[] | null {
  const parts: Part[] = [];
  const without: number[] = [];
  let from = place;
  for (const [i, { field, index: value, attribute }] of keys.entries()) {
    if (value === null) return null;
    const part = { field, value, attribute, keys: keys.slice(i), without: [...without], place: from };
    if (attribute === null) return [...parts, part];
    if (from === null || from.bounds[0]!.value !== null) {
      parts.push(part);
      from = null;
    }
    if (required.some((other) => sameField(other, field))) return parts;
    without.push(attribute);
    from = from && { ...from, bounds: from.bounds.slice(1) };
  }
  return [...parts, { field: REVISION, value: sql`d.revision`, attribute: null, keys: [], without, place: from }];
}

const REVISION: FieldRef = { name: 'revision' };

function isByRevision({ field }: Part): boolean {
  return field.name === 'revision';
}

/** Returns the statement that reads the versions of a part that meet the conditions. */
export function statementOf(part: Part, model: Sql, conditions: Sql[], limit: number): Sql {
  const { keys, without } = part;
  const where = all([...startOf(part, model), ...conditions, ...without.map(lacks)]);
  // CROSS JOIN keeps SQLite from another order of the tables.
  const source = sql`${tableOf(part)} CROSS JOIN version v ON v.revision = d.revision`;
  return sql`SELECT v.version, v.revision${keptColumns(keys)} FROM ${source} WHERE ${where} ${orderOf(part)} LIMIT ${limit}`;
}

function tableOf({ attribute }: Part): Sql {
  return attribute === null ? sql`version d` : sql`attribute d`;
}

function lacks(attribute: number): Sql {
  return sql`NOT EXISTS (SELECT 1 FROM attribute w WHERE w.revision = v.revision AND w.key = ${attribute})`;
}

/** Returns the conditions on the index that begin a part. Entries with the value of its place may still be before it. */
function rangeOf(part: Part, model: Sql): Sql[] {
  const { value, attribute, place } = part;
  const of = [sql`d.model = ${model}`, ...(attribute === null ? [] : [sql`d.key = ${attribute}`])];
  if (!place) return of;
  const bound = isByRevision(part) ? place.revision : place.bounds[0]!.value!;
  return [...of, ascends(part) ? sql`${value} >= ${bound}` : sql`${value} <= ${bound}`];
}

/** Returns the conditions that begin a part. Those on the index alone are stated apart, for the planner. */
function startOf(part: Part, model: Sql): Sql[] {
  const { value, place } = part;
  const range = rangeOf(part, model);
  if (!place) return range;
  if (isByRevision(part)) return [...range, sql`d.revision <> ${place.revision}`];
  const [first, ...rest] = place.bounds as [Bound, ...Bound[]];
  return [...range, after([{ ...first, expression: value }, ...rest], sql`d.revision < ${place.revision}`)];
}

function orderOf(part: Part): Sql {
  const { value, keys } = part;
  if (isByRevision(part)) return ascends(part) ? sql`ORDER BY d.revision` : sql`ORDER BY d.revision DESC`;
  return orderBy([{ ...keys[0]!, expression: value }, ...keys.slice(1)], sql`d.revision DESC`);
}

function ascends({ keys }: Part): boolean {
  return keys.length > 0 && !keys[0]!.descending;
}

/** Returns a conjunct as a condition on the index, if it compares what that sorts by; else null. */
export function indexCondition({ field, value }: Part, { comparison }: Conjunct): Sql | null {
  return comparison && sameField(comparison.field, field) ? onIndex(value, comparison) : null;
}

/** An entry of an index. */
export interface Entry {
  value: SqlValue;
  revision: number;
}

/** Returns the query for the entry that is `length` entries after the beginning of a part, of those that meet conditions. */
export function entryAfter(part: Part, model: Sql, conditions: Sql[], length: number): Sql {
  // Only what the index has: the order of the further keys does not matter here.
  const order = orderOf({ ...part, keys: part.keys.slice(0, 1) });
  const start = part.keys.length > 1 ? rangeOf(part, model) : startOf(part, model);
  const entry = sql`SELECT ${part.value} AS value, d.revision FROM ${tableOf(part)}`;
  return sql`${entry} WHERE ${all([...start, ...conditions])} ${order} LIMIT 1 OFFSET ${length}`;
}

/** Returns the condition that a part ends with an entry; with several keys, with the last one of the same value. */
export function upTo(part: Part, { value, revision }: Entry): Sql {
  const range = ascends(part) ? sql`${part.value} <= ${value}` : sql`${part.value} >= ${value}`;
  if (isByRevision(part) || part.keys.length > 1) return range;
  return sql`${range} AND (${part.value} <> ${value} OR d.revision >= ${revision})`;
}
