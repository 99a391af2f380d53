import { precedence } from '../../../src/domain/versions.ts';
import type { Connection } from '../../../src/projections/read-model/connection.ts';
import { newReadModel } from '../../support/read-model.ts';

export interface Version {
  version: string;
  revision: number;
  status: 'ready' | 'archived';
  flavor: string;
  notes: string;
  /** Milliseconds since 1970. */
  published_at: number;
  published_by: string;
  manifest_digest: string;
  /** By `tags.team`, `params.depth` … */
  attributes: Record<string, string | number>;
}

/** An empty read model, to which rows are added without events. */
export function emptyReadModel(): Connection {
  const readModel = newReadModel();
  readModel.index();
  return readModel.db;
}

export function addModel(db: Connection, id: number, name: string): void {
  db.query(`INSERT INTO model (id, name, revision, head, time, versions, last_revision, last_hash)
    VALUES (?, ?, 0, '', '', 0, 0, '')`).run(id, name);
}

export function addVersion(db: Connection, model: number, added: Version): void {
  const { version, revision, status, flavor, notes, published_at, published_by, manifest_digest } = added;
  const columns = [revision, model, version, status, manifest_digest, notes, flavor, published_at, published_by];
  db.query('INSERT INTO version VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?)').run(...columns, precedence(version));
  db.query('INSERT INTO notes_text (rowid, notes) VALUES (?, ?)').run(revision, notes);
  db.query('UPDATE model SET versions = versions + 1, revision = ? WHERE id = ?').run(revision, model);
  for (const [name, value] of Object.entries(added.attributes)) {
    db.query('INSERT OR IGNORE INTO attribute_key (name) VALUES (?)').run(name);
    db.query(`INSERT INTO attribute (revision, key, model, value)
      SELECT ?, id, ?, ? FROM attribute_key WHERE name = ?`).run(revision, model, value, name);
  }
}

export function setActive(db: Connection, model: number, environment: string, version: string | null): void {
  db.query("INSERT OR REPLACE INTO environment VALUES (?, ?, 0, ?, '{}')").run(model, environment, version);
}

export function setLatest(db: Connection, model: number, version: string | null): void {
  db.query('UPDATE model SET latest = ? WHERE id = ?').run(version, model);
}
