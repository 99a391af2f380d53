import type { Connection } from '../read-model/connection.ts';
import { modelId } from '../read-model/models.ts';

/** Returns the versions of a model by precedence, lowest first. */
export function listNames(db: Connection, { model }: { model: string }): string[] {
  const sql = 'SELECT version FROM version WHERE model = ? ORDER BY precedence';
  return db
    .query<{ version: string }>(sql)
    .all(modelId(db, model))
    .map(({ version }) => version);
}
