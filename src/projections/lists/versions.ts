import { versionFields } from '../../api/views.ts';
import { activeVersion, type Model } from '../../domain/model.ts';
import type { Connection, Value } from '../read-model/connection.ts';
import { environmentsOf, modelId } from '../read-model/models.ts';
import { type At, modelAt, type PastModel, stateAt } from '../read-model/past-model.ts';
import { VERSIONS, type VersionRow } from '../read-model/stored-model.ts';
import { jsonWith, type Page, type PageStart, pageOf, revisionOf } from './page.ts';

export interface VersionsQuery extends PageStart {
  model: string;
  status?: 'ready' | 'archived' | undefined;
  active_flag?: boolean | undefined;
  /** Limits `active_flag` to one environment. */
  environment?: string | undefined;
  at?: At | undefined;
}

/** Lists the versions of a model, newest first. */
export function listVersions(db: Connection, query: VersionsQuery): Page {
  const { model: name, page_size, at, status } = query;
  const past = at && modelAt(db, name, at);
  const id = modelId(db, name);
  const model = past ?? { name, environments: environmentsOf(db, id) };
  const found = rows(db, query, id, model, past);
  return pageOf(
    past ? asThen(db, found, past, status) : found,
    page_size,
    (row) => versionJson(model, row),
    revisionOf,
  );
}

/** Returns the JSON of a `VersionView`. */
export function versionJson(
  model: Pick<Model, 'name' | 'environments'>,
  { manifest, time, ...rest }: VersionRow,
): string {
  return jsonWith(versionFields(model, { ...rest, published_at: time }), 'manifest', manifest);
}

function rows(
  db: Connection,
  { below, status, active_flag, environment }: VersionsQuery,
  id: number,
  model: Pick<PastModel, 'environments'>,
  past: PastModel | undefined,
): Iterable<VersionRow> {
  const conditions = ['v.model = ?', 'v.revision < ?'];
  const values: Value[] = [id, past ? Math.min(below, past.revision + 1) : below];
  if (status !== undefined && !past) {
    conditions.push('v.status = ?');
    values.push(status);
  }
  let order = 'v.revision';
  if (active_flag !== undefined || environment !== undefined) {
    const environments = environment === undefined ? [...model.environments.keys()] : [environment];
    const active = environments.map((where) => activeVersion(model, where));
    conditions.push(`v.version ${active_flag === false ? 'NOT' : ''} IN (SELECT value FROM json_each(?))`);
    values.push(JSON.stringify(active.filter((version) => version !== null)));
    // The plus lets SQLite look the few active ones up, instead of reading all versions in their order.
    if (active_flag !== false) order = '+v.revision';
  }
  const sql = `${VERSIONS} WHERE ${conditions.join(' AND ')} ORDER BY ${order} DESC`;
  return db.query<VersionRow>(sql).iterate(...values);
}

/** Gives each version the status and the notes that it had then. */
function* asThen(db: Connection, rows: Iterable<VersionRow>, past: PastModel, status: VersionsQuery['status']) {
  for (const row of rows) {
    const then = { ...row, ...stateAt(db, past.id, row.version, past.revision) };
    if (status === undefined || then.status === status) yield then;
  }
}
