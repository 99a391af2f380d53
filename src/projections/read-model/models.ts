import type { EnvironmentState } from '../../domain/model.ts';
import type { Connection } from './connection.ts';

/** Returns the id of a model; 0, which is none, for an unknown name. */
export function modelId(db: Connection, name: string): number {
  return db.query<{ id: number }>('SELECT id FROM model WHERE name = ?').get(name)?.id ?? 0;
}

/** Returns the environments of a model, by its id, in the order of their first events. */
export function environmentsOf(db: Connection, model: number): Map<string, EnvironmentState> {
  const sql = 'SELECT name, state FROM environment WHERE model = ? ORDER BY ordinal';
  const rows = db.query<{ name: string; state: string }>(sql).all(model);
  return new Map(rows.map(({ name, state }) => [name, JSON.parse(state)]));
}

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
