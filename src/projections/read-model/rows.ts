import type { EventData, RegistryEvent } from '../../domain/events.ts';
import type { Manifest } from '../../domain/manifest.ts';
import type { Change, VersionState } from '../../domain/model.ts';
import { isReferred } from '../../domain/reference.ts';
import { isRelease, precedence } from '../../domain/versions.ts';
import { BoundedMap } from '../../structures/bounded-map.ts';
import type { Connection } from './connection.ts';

const MAX_KEYS = 10_000;

/** Writes the rows of one event; the caller keeps the transaction. */
export class Rows {
  readonly #db: Connection;
  /** Ids of attribute names, which most versions of a model share. */
  readonly #keys = new BoundedMap<string, number>(MAX_KEYS);

  constructor(db: Connection) {
    this.#db = db;
  }

  add(model: number, event: RegistryEvent, change: Change): void {
    this.#event(model, event, change);
    const { published, status, notes } = change;
    if (published) this.#version(model, published);
    if (event.type === 'version.published') this.#references(event.data);
    if (status) this.#set('status = ?', status.status, model, status.version);
    if (notes) this.#notes(model, notes.version, notes.notes);
  }

  #event(model: number, { type, time, actor, request_id, data, idempotency }: RegistryEvent, change: Change): void {
    const fields = data as {
      environment?: string;
      version?: string | null;
      previous?: string | null;
      reason?: unknown;
    };
    const { revision, pushed } = change;
    this.#db
      .query(`INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`)
      .run(
        revision,
        model,
        type,
        time,
        Date.parse(time),
        actor,
        request_id,
        fields.environment ?? null,
        fields.version ?? null,
        fields.previous ?? null,
        pushed?.below ?? null,
        idempotency?.key ?? null,
        idempotency?.command_hash ?? null,
        JSON.stringify(data),
      );
    if (typeof fields.reason === 'string') {
      this.#db.query('INSERT INTO reason_text (rowid, reason) VALUES (?, ?)').run(revision, fields.reason);
    }
  }

  #version(model: number, state: VersionState): void {
    const { version, revision, status, manifest, manifest_digest, notes, published_at, published_by } = state;
    this.#db
      .query('INSERT INTO version VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)')
      .run(
        revision,
        model,
        version,
        status,
        manifest_digest,
        notes,
        manifest.flavor,
        Date.parse(published_at),
        published_by,
        Number(isRelease(version)),
        precedence(version),
      );
    const refer = this.#db.query('INSERT OR IGNORE INTO artifact VALUES (?, ?)');
    for (const { digest } of manifest.artifacts) refer.run(digest, model);
    this.#attributes(model, revision, manifest);
    if (notes !== '') this.#index(revision, notes);
  }

  #references({ manifest, verified = [] }: EventData<'version.published'>): void {
    const refer = this.#db.query('INSERT OR REPLACE INTO reference VALUES (?, ?, ?, ?)');
    const etags = new Map(verified.map(({ source, etag }) => [source, etag]));
    for (const { source, digest, size } of manifest.artifacts.filter(isReferred)) {
      refer.run(digest, source, size, etags.get(source) ?? null);
    }
  }

  #attributes(model: number, revision: number, { metrics, params, tags }: Manifest): void {
    // Names that are not well-formed become equal in UTF-8.
    const insert = this.#db.query('INSERT OR IGNORE INTO attribute VALUES (?, ?, ?, ?)');
    for (const [kind, values] of Object.entries({ metrics, params, tags })) {
      for (const [name, value] of Object.entries(values)) {
        if (value === null) continue;
        insert.run(revision, this.#key(`${kind}.${name}`), model, typeof value === 'boolean' ? String(value) : value);
      }
    }
  }

  #key(name: string): number {
    const known = this.#keys.get(name);
    if (known !== undefined) return known;
    this.#db.query('INSERT OR IGNORE INTO attribute_key (name) VALUES (?)').run(name);
    const { id } = this.#db.query<{ id: number }>('SELECT id FROM attribute_key WHERE name = ?').get(name)!;
    this.#keys.set(name, id);
    return id;
  }

  #notes(model: number, version: string, notes: string): void {
    this.#set('notes = ?', notes, model, version);
    const sql = 'SELECT revision FROM version WHERE model = ? AND version = ?';
    const { revision } = this.#db.query<{ revision: number }>(sql).get(model, version)!;
    this.#db.query('DELETE FROM notes_text WHERE rowid = ?').run(revision);
    if (notes !== '') this.#index(revision, notes);
  }

  #index(revision: number, notes: string): void {
    this.#db.query('INSERT INTO notes_text (rowid, notes) VALUES (?, ?)').run(revision, notes);
  }

  #set(assignment: string, value: string, model: number, version: string): void {
    this.#db.query(`UPDATE version SET ${assignment} WHERE model = ? AND version = ?`).run(value, model, version);
  }
}
