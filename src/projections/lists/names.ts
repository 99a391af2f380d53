import type { Connection } from '../read-model/connection.ts';

/** Returns the versions of a model by precedence, lowest first. */
export function listNames(db: Connection, { model }: { model: string }): string[] {
  const sql = 'SELECT version FROM version WHERE model = (SELECT id FROM model WHERE name = ?) ORDER BY precedence';
  return db
    .query<{ version: string }>(sql)
    .all(model)
    .map(({ version }) => version);
}
