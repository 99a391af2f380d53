import { allows, type Identity, type Policy } from '../../access/policy.ts';
import type { ModelView } from '../../api/views.ts';
import type { Connection } from '../read-model/connection.ts';
import { type Page, type PageStart, pageOf } from './page.ts';

export interface ModelsQuery extends PageStart {
  identity: Identity;
}

interface Row {
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
  const readable = rowsThat(db.query<Row>(sql).iterate(below), ({ name }) =>
    allows(policy, identity, { permission: 'read', model: name }),
  );
  return pageOf(readable, page_size, (row) => JSON.stringify(view(row)));

  function view({ id, name, latest, versions, revision }: Row): ModelView {
    const rows = db
      .query<{ name: string; version: string | null }>('SELECT name, version FROM environment WHERE model = ?')
      .all(id);
    const active = new Map(rows.map((row) => [row.name, row.version]));
    const shown = Object.fromEntries(environments.map((name) => [name, active.get(name) ?? null]));
    return { model: name, latest, active: shown, versions, revision };
  }
}

export function* rowsThat<R>(rows: Iterable<R>, accept: (row: R) => boolean): Generator<R> {
  for (const row of rows) if (accept(row)) yield row;
}
