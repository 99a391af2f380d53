import type { Connection } from './connection.ts';

/** Returns the names of all models. */
export function modelNames(db: Connection): string[] {
  return db
    .query<{ name: string }>('SELECT name FROM model ORDER BY id')
    .all()
    .map(({ name }) => name);
}

/** Returns the last message of each model, applied or not: the heads that a checkpoint states. */
export function headsOf(db: Connection): Map<string, { revision: number; hash: string }> {
  const sql = 'SELECT name, last_revision AS revision, last_hash AS hash FROM model';
  const rows = db.query<{ name: string; revision: number; hash: string }>(sql).all();
  return new Map(rows.map(({ name, ...head }) => [name, head]));
}
