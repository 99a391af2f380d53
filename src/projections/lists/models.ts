import { allows, type Identity, type Policy } from '../../access/policy.ts';
import type { ModelView } from '../../api/views.ts';
import type { Connection } from '../read-model/connection.ts';
import { type Page, type PageStart, pageOf, revisionOf } from './page.ts';

export interface ModelsQuery extends PageStart {
  identity: Identity;
}

export interface ModelRow {
  id: number;
  name: string;
  latest: string | null;
  versions: number;
  revision: number;
}

/** Lists the models that the caller may read, the last changed one first. */
export function listModels(
  db: Connection,
  { below, page_size, identity }: ModelsQuery,
  { policy, environments }: { policy: Policy; environments: readonly string[] },
): Page {
  const sql = `SELECT id, name, latest, versions, revision FROM model
    WHERE versions > 0 AND revision < ? ORDER BY revision DESC`;
  const rows = readable(db.query<ModelRow>(sql).iterate(below), identity, policy);
  return pageOf(rows, page_size, (row) => modelJson(db, row, environments), revisionOf);
}

function* readable(rows: Iterable<ModelRow>, identity: Identity, policy: Policy): Generator<ModelRow> {
  for (const row of rows) if (allows(policy, identity, { permission: 'read', model: row.name })) yield row;
}

/** Returns the JSON of a `ModelView`. */
export function modelJson(db: Connection, row: ModelRow, environments: readonly string[]): string {
  const { id, name: model, latest, versions, revision } = row;
  const sql = 'SELECT name, version FROM environment WHERE model = ?';
  const rows = db.query<{ name: string; version: string | null }>(sql).all(id);
  const active = new Map(rows.map(({ name, version }) => [name, version]));
  const shown = Object.fromEntries(environments.map((name) => [name, active.get(name) ?? null]));
  return JSON.stringify({ model, latest, active: shown, versions, revision } satisfies ModelView);
}
