import { MOVE_TYPES } from '../../domain/events.ts';
import type { EnvironmentState, Model, VersionState } from '../../domain/model.ts';
import { UNMOVED } from '../../domain/model.ts';
import type { Connection } from './connection.ts';
import { modelId } from './models.ts';
import { OF_VERSION } from './schema.ts';
import { VERSIONS, type VersionRow, versionOf } from './stored-model.ts';

/** A moment of the log: up to and including a revision or a time (ms since 1970). */
export type At = { revision: number } | { time: number };

/** A model as it was at a moment. Stacks have only their top. */
export interface PastModel extends Pick<Model, 'name' | 'revision' | 'environments' | 'version'> {
  id: number;
}

/** The events that move an environment, as a condition. */
export const MOVES = `type IN (${MOVE_TYPES.map((type) => `'${type}'`).join(', ')})`;

/** Returns a model as it was; at revision 0 if it had no event yet. Nothing in the past changes, so each event answers for its time. */
export function modelAt(db: Connection, name: string, at: At): PastModel {
  const id = modelId(db, name);
  const revision = 'revision' in at ? (lastUpTo(db, id, at.revision)?.revision ?? 0) : revisionAt(db, id, at.time);
  return { id, name, revision, environments: environmentsAt(db, id, revision), version };

  function version(version: string): VersionState | null {
    const row = db
      .query<VersionRow>(`${VERSIONS} WHERE v.model = ? AND v.version = ? AND v.revision <= ?`)
      .get(id, version, revision);
    return row && versionOf({ ...row, ...stateAt(db, id, version, revision) });
  }
}

/** Returns the revision of a model's last event up to a time (ms since 1970); 0 if there is none. The times of a model never go back. */
export function revisionAt(db: Connection, model: number, time: number): number {
  let [before, after] = [0, (lastUpTo(db, model, Number.MAX_SAFE_INTEGER)?.revision ?? 0) + 1];
  while (after - before > 1) {
    const found = lastUpTo(db, model, Math.floor((before + after) / 2));
    if (found && found.at > time) after = found.revision;
    else before = Math.floor((before + after) / 2);
  }
  return lastUpTo(db, model, before)?.revision ?? 0;
}

function lastUpTo(db: Connection, model: number, revision: number): { revision: number; at: number } | null {
  const sql = 'SELECT revision, at FROM event WHERE model = ? AND revision <= ? ORDER BY revision DESC LIMIT 1';
  return db.query<{ revision: number; at: number }>(sql).get(model, revision);
}

/** Returns what a published version was up to a revision. */
export function stateAt(
  db: Connection,
  model: number,
  version: string,
  revision: number,
): Pick<VersionState, 'status' | 'notes'> {
  const last = (of: string) =>
    `SELECT type, data ->> '$.notes' AS notes FROM event WHERE model = ? AND version = ? AND revision <= ?
      AND ${OF_VERSION} AND type IN (${of}) ORDER BY revision DESC LIMIT 1`;
  const moved = db
    .query<{ type: string }>(last(`'version.archived', 'version.restored'`))
    .get(model, version, revision);
  const noted = db.query<{ notes: string }>(last(`'version.published', 'notes.changed'`)).get(model, version, revision);
  return { status: moved?.type === 'version.archived' ? 'archived' : 'ready', notes: noted!.notes };
}

interface MoveRow {
  revision: number;
  version: string | null;
  time: string;
  actor: string;
  request_id: string;
  reason: string | null;
}

function environmentsAt(db: Connection, model: number, revision: number): Map<string, EnvironmentState> {
  const names = db.query<{ name: string }>('SELECT name FROM environment WHERE model = ? ORDER BY ordinal').all(model);
  const sql = `SELECT revision, version, time, actor, request_id, data ->> '$.reason' AS reason FROM event
    WHERE model = ? AND environment = ? AND revision <= ? AND ${MOVES} ORDER BY revision DESC LIMIT 1`;
  const states = new Map<string, EnvironmentState>();
  for (const { name } of names) {
    const row = db.query<MoveRow>(sql).get(model, name, revision);
    if (!row) continue;
    const { version, time: at, actor: by, reason, request_id } = row;
    const moved = { revision: row.revision, at, by, reason, request_id };
    states.set(name, { ...UNMOVED, top: { revision: row.revision, version, below: null }, moved });
  }
  return states;
}
