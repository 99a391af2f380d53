import type { Filter, OrderTerm } from '../../search/filter.ts';
import type { Connection } from '../read-model/connection.ts';
import { modelId } from '../read-model/models.ts';
import { condition } from './conditions.ts';
import {
  after,
  boundsAt,
  type Cursor,
  keptColumns,
  keptValues,
  orderBy,
  otherListing,
  type SortKey,
  sortKeys,
} from './order.ts';
import { scopeOf } from './scope.ts';
import { all, type Sql, type SqlValue, sql } from './sql.ts';

/** A search among models, by their own fields and those of their latest version. */
export interface ModelSearch {
  filter: Filter | null;
  /** Ties are in the order of names. Without any term, the model that changed last is first. */
  order: OrderTerm[];
  /** Only what comes after it; null for the first page. */
  after: Cursor | null;
  /** At least 1. */
  limit: number;
  /** Whether the caller may see a model. */
  visible(name: string): boolean;
}

export interface FoundModel {
  id: number;
  name: string;
  /** Continues after this model. */
  cursor: Cursor;
}

type Row = Record<string, SqlValue | null> & { id: number; name: string; version_revision: number | null };

const LAST_CHANGED: OrderTerm[] = [{ field: { name: 'revision' }, descending: true }];

/**
 * Returns the first models of a search that have a version, at most `limit`. A model whose sort key changes between two
 * pages may be on both or on none; no other one is.
 */
export function findModels(db: Connection, request: ModelSearch): FoundModel[] {
  const scope = scopeOf(db, null);
  const keys = sortKeys(request.order.length > 0 ? request.order : LAST_CHANGED, scope);
  const { after: cursor } = request;
  const start = cursor ? [afterModel(db, keys, cursor, request.visible)] : [];
  const matches = request.filter ? [condition(request.filter, scope)] : [];
  const columns = sql`SELECT m.id, m.name, v.revision AS version_revision${keptColumns(keys)}`;
  const query = sql`${columns} FROM ${MODELS} WHERE ${all([HAS_VERSIONS, ...matches, ...start])} ${orderBy(keys, sql`m.name`)}`;
  const found: FoundModel[] = [];
  for (const row of iterate(db, query)) {
    const { id, name, version_revision } = row;
    if (!request.visible(name)) continue;
    found.push({ id, name, cursor: { revision: version_revision, name, values: keptValues(keys, row) } });
    if (found.length === request.limit) break;
  }
  return found;
}

/** @throws {Problem} invalid-request if it is not of a model that the caller may see */
function afterModel(db: Connection, keys: SortKey[], cursor: Cursor, visible: ModelSearch['visible']): Sql {
  const { name = '' } = cursor;
  if (!visible(name)) throw otherListing();
  return after(boundsAt(db, keys, cursor, sql`${modelId(db, name)}`), sql`m.name > ${name}`);
}

/** Counts the models that meet a filter and that the caller may see. */
export function countModels(db: Connection, { filter, visible }: Pick<ModelSearch, 'filter' | 'visible'>): number {
  const matches = filter ? [condition(filter, scopeOf(db, null))] : [];
  const query = sql`SELECT m.id, m.name, NULL AS version_revision FROM ${MODELS} WHERE ${all([HAS_VERSIONS, ...matches])}`;
  let count = 0;
  for (const { name } of iterate(db, query)) if (visible(name)) count++;
  return count;
}

const MODELS = sql`model m LEFT JOIN version v ON v.model = m.id AND v.version = m.latest`;
const HAS_VERSIONS = sql`m.versions > 0`;

function iterate(db: Connection, { text, values }: Sql): Iterable<Row> {
  return db.query<Row>(text).iterate(...values);
}
