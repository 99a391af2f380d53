import type { Change } from '../../domain/model.ts';
import { preferred } from '../../domain/versions.ts';
import type { Connection } from './connection.ts';
import { environmentsOf } from './models.ts';
import { EMPTY, type Header, type Lookups, StoredModel } from './stored-model.ts';

/** A model, and its last message, applied or not. */
export interface StoredEntry {
  model: StoredModel;
  last: { revision: number; hash: string };
}

/** The event that a model cannot be followed past. */
export interface Frozen {
  revision: number;
  reason: string;
}

interface ModelRow {
  id: number;
  revision: number;
  head: string;
  time: string;
  versions: number;
  latest: string | null;
  highest: string | null;
  last_revision: number;
  last_hash: string;
}

/** The tables of models and their environments. */
export class ModelTable {
  readonly #db: Connection;
  readonly #lookups: Lookups;

  constructor(db: Connection, lookups: Lookups) {
    this.#db = db;
    this.#lookups = lookups;
  }

  read(name: string): StoredEntry | null {
    const row = this.#db.query<ModelRow>('SELECT * FROM model WHERE name = ?').get(name);
    if (!row) return null;
    const { id, versions: versionCount, last_revision, last_hash, ...header } = row;
    const model = new StoredModel(
      { id, name },
      { ...header, versionCount },
      environmentsOf(this.#db, id),
      this.#lookups,
    );
    return { model, last: { revision: last_revision, hash: last_hash } };
  }

  create(name: string): StoredEntry {
    const { revision, head, time } = EMPTY;
    const sql = `INSERT INTO model (name, revision, head, time, versions, last_revision, last_hash)
      VALUES (?, ?, ?, ?, 0, 0, ?) RETURNING id`;
    const { id } = this.#db.query<{ id: number }>(sql).get(name, revision, head, time, head)!;
    return { model: new StoredModel({ id, name }, EMPTY, new Map(), this.#lookups), last: { revision, hash: head } };
  }

  /** Returns the model after an event whose rows are written. */
  changed(model: StoredModel, change: Change): StoredModel {
    const { revision, head, time, published, environment } = change;
    const header: Header = {
      revision,
      head,
      time: time ?? model.time,
      versionCount: model.versionCount + (published ? 1 : 0),
      latest: this.#latest(model, change),
      highest: published ? preferred(model.highest, published.version) : model.highest,
    };
    const environments = environment
      ? new Map([...model.environments, [environment.name, environment.state]])
      : model.environments;
    return new StoredModel(model, header, environments, this.#lookups);
  }

  write({ model, last }: StoredEntry, frozen: Frozen | null): void {
    const { id, revision, head, time, versionCount, latest, highest, environments } = model;
    const sql = `UPDATE model SET revision = ?, head = ?, time = ?, versions = ?, latest = ?, highest = ?,
      last_revision = ?, last_hash = ?, frozen_revision = ?, frozen_reason = ? WHERE id = ?`;
    const fold = [revision, head, time, versionCount, latest, highest];
    this.#db.query(sql).run(...fold, last.revision, last.hash, frozen?.revision ?? null, frozen?.reason ?? null, id);
    let ordinal = 0;
    for (const [name, state] of environments) {
      const version = state.top?.version ?? null;
      const put = 'INSERT OR REPLACE INTO environment VALUES (?, ?, ?, ?, ?)';
      this.#db.query(put).run(id, name, ordinal++, version, JSON.stringify(state));
    }
  }

  count(): number {
    return this.#db.query<{ count: number }>('SELECT count(*) AS count FROM model').get()!.count;
  }

  frozen(): [name: string, Frozen][] {
    const sql = 'SELECT name, frozen_revision, frozen_reason FROM model WHERE frozen_revision IS NOT NULL';
    const rows = this.#db.query<{ name: string; frozen_revision: number; frozen_reason: string }>(sql).all();
    return rows.map(({ name, frozen_revision: revision, frozen_reason: reason }) => [name, { revision, reason }]);
  }

  #latest(model: StoredModel, { published, status }: Change): string | null {
    if (published) return preferred(model.latest, published.version);
    if (status?.status === 'ready') return preferred(model.latest, status.version);
    if (status === undefined || status.version !== model.latest) return model.latest;
    const sql = `SELECT version FROM version WHERE model = ? AND status = 'ready'
      ORDER BY is_release DESC, precedence DESC LIMIT 1`;
    return this.#db.query<{ version: string }>(sql).get(model.id)?.version ?? null;
  }
}
