import type { Filter, OrderTerm } from '../../search/filter.ts';
import type { Connection } from '../read-model/connection.ts';
import { type Conjunct, conjunctsOf } from './conjuncts.ts';
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
import { type Entry, entryAfter, indexCondition, type Part, type Place, partsOf, statementOf, upTo } from './parts.ts';
import { scopeOf } from './scope.ts';
import { all, rowOf, rowsOf, type Sql, type SqlValue, sql } from './sql.ts';

/** A search among the versions of a model. */
export interface VersionSearch {
  /** The id of the model. */
  model: number;
  filter: Filter | null;
  /** Ties are in the order of publication, newest first. Versions without a key come last. */
  order: OrderTerm[];
  /** Only what comes after it; null for the first page. */
  after: Cursor | null;
  /** At least 1. */
  limit: number;
}

export interface FoundVersion {
  version: string;
  revision: number;
  /** Continues after this version. */
  cursor: Cursor;
}

type Row = Record<string, SqlValue | null> & { version: string; revision: number };

/** Numbers of versions at which the way to a page changes; the same page comes out of each. */
export interface Thresholds {
  /** Fewer matches of a condition than this are counted. */
  few: number;
  /** How many entries of an index are read before another way is taken. */
  glance: number;
}

/** Chosen with 100,000 versions, where counting 50,000 entries takes about a millisecond. */
const THRESHOLDS: Thresholds = { few: 50_000, glance: 2000 };

/**
 * Estimates from measurements with 100,000 versions of ten attributes; they decide the way to a page, not what is on it.
 * Microseconds to look for an attribute of a version: in any order, or in that of the file, which pages of the cache serve.
 */
const LOOKUP = 2.5;
const LOOKUP_IN_ORDER = 0.5;
/** Microseconds to read a version by its revision, or one after another. */
const VERSION_LOOKUP = 1.5;
const VERSION_IN_ORDER = 0.2;

/** How much of the estimated matches must fill the page. */
const CAUTION = 0.75;

/**
 * Returns the first versions of a search, at most `limit`. A version that is published between two pages is in the second
 * one if it comes after the cursor; no older one is missing or repeated, unless the value it is sorted by changed.
 *
 * SQLite's planner knows no sizes without ANALYZE, so the matches of conditions are counted first, up to a bound.
 * 1. If the filter seems to match often, the index of the order is read from the cursor on, not far.
 * 2. If few versions meet one of the conditions, these are gathered and sorted.
 * 3. Otherwise, or if the first way did not fill the page, all versions of the model are read, and the matches are sorted.
 */
export function findVersions(db: Connection, request: VersionSearch, thresholds = THRESHOLDS): FoundVersion[] {
  const search = new Search(db, request, thresholds);
  return search.rows().map((row) => {
    const { version, revision } = row;
    return { version, revision, cursor: { revision, values: keptValues(search.keys, row) } };
  });
}

/** Counts the versions that meet a filter, up to `atMost`, which bounds the time that it takes. */
export function countVersions(db: Connection, model: number, filter: Filter | null, atMost: number): number {
  return new Search(db, { model, filter, order: [], after: null, limit: atMost }, THRESHOLDS).count();
}

class Search {
  readonly #db: Connection;
  readonly #model: Sql;
  /** The number of the model's versions. */
  readonly #total: number;
  readonly #conjuncts: Conjunct[];
  readonly #place: Place | null;
  readonly #limit: number;
  readonly #thresholds: Thresholds;
  readonly keys: SortKey[];

  constructor(db: Connection, { model, filter, order, after, limit }: VersionSearch, thresholds: Thresholds) {
    const scope = scopeOf(db, model);
    const total = rowOf<{ versions: number }>(db, sql`SELECT versions FROM model WHERE id = ${model}`)?.versions ?? 0;
    this.#db = db;
    this.#model = scope.model;
    this.#total = total;
    this.#conjuncts = conjunctsOf(filter, { db, scope, total, few: thresholds.few });
    this.keys = sortKeys(order, scope);
    this.#place = after && placeOf(db, this.keys, after, scope.model);
    this.#limit = limit;
    this.#thresholds = thresholds;
  }

  rows(): Row[] {
    return this.#atAGlance() ?? this.#sorted();
  }

  /** Reads along the parts' indexes; null if it would take too far. */
  #atAGlance(): Row[] | null {
    const required = this.#conjuncts.flatMap(({ comparison }) => comparison?.field ?? []);
    const parts = partsOf(this.keys, this.#place, required);
    if (!parts || !this.#promises(parts[0])) return null;
    const rows: Row[] = [];
    for (const part of parts) {
      if (part.without.some((attribute) => this.#haveAll(attribute))) break;
      const onIndex = this.#conjuncts.flatMap((conjunct) => indexCondition(part, conjunct) ?? []);
      const end = rowOf<Entry>(this.#db, entryAfter(part, this.#model, onIndex, this.#thresholds.glance));
      const conditions = this.#conjuncts.map((conjunct) => indexCondition(part, conjunct) ?? conjunct.condition);
      const within = end ? [...conditions, upTo(part, end)] : conditions;
      rows.push(...rowsOf<Row>(this.#db, statementOf(part, this.#model, within, this.#limit - rows.length)));
      if (rows.length === this.#limit) break;
      if (end) return null;
    }
    return rows;
  }

  /** Whether a glance probably fills the page. */
  #promises(first: Part | undefined): boolean {
    const walked = this.#conjuncts.filter((conjunct) => !first || indexCondition(first, conjunct) === null);
    const { glance } = this.#thresholds;
    return this.#total <= glance || this.#limit <= this.#share(walked) * glance * CAUTION;
  }

  /** Estimates the share of versions that meet all conditions, if these are independent of each other. */
  #share(conjuncts: Conjunct[]): number {
    const share = ({ matches }: Conjunct) => {
      if (!matches) return 0.5;
      const least = Math.min(1, Math.min(matches.size, this.#thresholds.few) / this.#total);
      return Number.isFinite(matches.size) ? least : (least + 1) / 2;
    };
    return conjuncts.reduce((product, conjunct) => product * share(conjunct), 1);
  }

  #haveAll(attribute: number): boolean {
    const query = sql`SELECT count(*) AS size FROM attribute WHERE model = ${this.#model} AND key = ${attribute}`;
    return rowOf<{ size: number }>(this.#db, query)!.size === this.#total;
  }

  #sorted(): Row[] {
    const start = this.#place ? [after(this.#place.bounds, sql`v.revision < ${this.#place.revision}`)] : [];
    const columns = sql`SELECT v.version, v.revision${keptColumns(this.keys)}`;
    // The plus keeps SQLite from reading all versions in the order of an index, which is slower than in that of the file.
    const keys = this.keys.map((key) => ({ ...key, expression: sql`+${key.expression}` }));
    const order = orderBy(keys, sql`+v.revision DESC`);
    return rowsOf<Row>(this.#db, sql`${columns} ${this.#matches(start, this.#total)} ${order} LIMIT ${this.#limit}`);
  }

  /**
   * Returns FROM and WHERE that select all matches: from the condition that the fewest versions meet, or from all. `read` is
   * how many versions are read, if it is from all.
   */
  #matches(conditions: Sql[], read: number): Sql {
    const fewest = this.#fewest();
    const others = this.#byShare().filter((conjunct) => conjunct !== fewest);
    const checks = this.#checks(others, fewest ? this.#sizeOf(fewest) : read, fewest);
    const where = all([sql`v.model = ${this.#model}`, ...checks, ...conditions]);
    if (!fewest) return sql`FROM version v WHERE ${where}`;
    return sql`FROM (${fewest.matches!.revisions}) d CROSS JOIN version v ON v.revision = d.revision WHERE ${where}`;
  }

  /** Returns conditions that are checked one after another, each for the versions that meet those before. */
  #checks(conjuncts: Conjunct[], read: number, gathered: Conjunct | null): Sql[] {
    const lookup = gathered && !gathered.matches!.sorted ? LOOKUP : LOOKUP_IN_ORDER;
    let left = read;
    return conjuncts.map((conjunct) => {
      const { condition, matches, comparisons } = conjunct;
      const asList = matches !== null && matches.cost < left * lookup * comparisons;
      left *= this.#share([conjunct]);
      return asList ? sql`${gathered ? DRIVING : VERSION} IN (${matches.revisions})` : condition;
    });
  }

  /** Returns the condition that the fewest versions meet, if looking up those that meet the others is faster than all. */
  #fewest(): Conjunct | null {
    const [fewest, ...others] = this.#byShare().filter(({ matches }) => matches !== null);
    if (!fewest) return null;
    const found = this.#sizeOf(fewest) * this.#share(others);
    return found * VERSION_LOOKUP <= this.#total * VERSION_IN_ORDER ? fewest : null;
  }

  #byShare(): Conjunct[] {
    return this.#conjuncts.toSorted((a, b) => this.#share([a]) - this.#share([b]));
  }

  #sizeOf({ matches }: Conjunct): number {
    return Math.min(matches?.size ?? Number.POSITIVE_INFINITY, this.#total);
  }

  count(): number {
    if (this.#conjuncts.length === 0) return Math.min(this.#total, this.#limit);
    const read = Math.min(this.#total, this.#limit / this.#share(this.#conjuncts));
    const query = sql`SELECT count(*) AS count FROM (SELECT 1 ${this.#matches([], read)} LIMIT ${this.#limit})`;
    return rowOf<{ count: number }>(this.#db, query)!.count;
  }
}

/** @throws {Problem} invalid-request if it is not of a version of the model */
function placeOf(db: Connection, keys: SortKey[], after: Cursor, model: Sql): Place {
  if (after.revision === null) throw otherListing();
  return { bounds: boundsAt(db, keys, after, model), revision: after.revision };
}

/** The plus keeps SQLite from asking the full text for each revision of a list. */
const DRIVING = sql`+d.revision`;
const VERSION = sql`v.revision`;
