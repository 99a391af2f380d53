import { MAX_COUNT } from '../../api/page.ts';
import type { Filter, OrderTerm } from '../../search/filter.ts';
import type { Connection } from '../read-model/connection.ts';
import { environmentsOf, modelId } from '../read-model/models.ts';
import { VERSIONS, type VersionRow } from '../read-model/stored-model.ts';
import type { Cursor } from '../search/order.ts';
import { countVersions, findVersions } from '../search/versions.ts';
import { type Page, pageOf } from './page.ts';
import { type VersionsQuery, versionJson } from './versions.ts';

/** What a search adds to the query of a list. */
export interface Search {
  filter: Filter | null;
  order: OrderTerm[];
  /** Null for the first page. */
  after: Cursor | null;
  page_size: number;
  /** Whether to count the matches. */
  count: boolean;
}

export interface FoundVersionsQuery
  extends Search,
    Pick<VersionsQuery, 'model' | 'status' | 'active_flag' | 'environment'> {}

/** Lists the versions of a model that a filter matches, in an order. */
export function findAmongVersions(db: Connection, query: FoundVersionsQuery): Page<Cursor> {
  const { model: name, order, after, page_size, count } = query;
  const id = modelId(db, name);
  const model = { name, environments: environmentsOf(db, id) };
  const filter = restricted(query, [...model.environments.keys()]);
  // One more shows whether there is another page.
  const found = findVersions(db, { model: id, filter, order, after, limit: page_size + 1 });
  const version = db.query<VersionRow>(`${VERSIONS} WHERE v.revision = ?`);
  const page = pageOf(found, page_size, ({ revision }) => versionJson(model, version.get(revision)!), cursorOf);
  return count ? { ...page, count: countVersions(db, id, filter, MAX_COUNT) } : page;
}

function cursorOf({ cursor }: { cursor: Cursor }): Cursor {
  return cursor;
}

/** Adds the other parameters of the list to the filter. */
function restricted({ filter, status, active_flag, environment }: FoundVersionsQuery, known: string[]): Filter | null {
  const terms: Filter[] = filter ? [filter] : [];
  if (status !== undefined)
    terms.push({ kind: 'comparison', field: { name: 'status' }, comparator: '=', values: [status] });
  if (active_flag !== undefined || environment !== undefined) {
    const comparator = active_flag === false ? 'not in' : 'in';
    const values = environment === undefined ? known : [environment];
    terms.push({ kind: 'comparison', field: { name: 'environment' }, comparator, values });
  }
  return terms.length > 1 ? { kind: 'and', terms } : (terms[0] ?? null);
}
