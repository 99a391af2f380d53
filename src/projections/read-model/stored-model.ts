import type { Digest } from '../../domain/digest.ts';
import {
  type EnvironmentState,
  IDEMPOTENCY_WINDOW_MS,
  type KeptOutcome,
  type Model,
  NO_HEAD,
  type StackEntry,
  type VersionRecord,
  type VersionState,
} from '../../domain/model.ts';
import { BoundedMap } from '../../structures/bounded-map.ts';
import type { Connection } from './connection.ts';

const MAX_RECORDS = 20_000;

/** The header of a model: what each of its events changes. */
export type Header = Pick<Model, 'revision' | 'head' | 'time' | 'versionCount' | 'latest' | 'highest'>;

export const EMPTY: Header = { revision: 0, head: NO_HEAD, time: '', versionCount: 0, latest: null, highest: null };

/** Looks up what a model does not hold in memory. Records are cached: each event needs those of the active versions. */
export class Lookups {
  readonly #db: Connection;
  readonly #records = new BoundedMap<string, VersionRecord>(MAX_RECORDS);

  constructor(db: Connection) {
    this.#db = db;
  }

  record(model: number, version: string): VersionRecord | null {
    const key = `${model} ${version}`;
    const cached = this.#records.get(key);
    if (cached) return cached;
    const sql = 'SELECT version, status, manifest_digest, revision FROM version WHERE model = ? AND version = ?';
    const found = this.#db.query<VersionRecord>(sql).get(model, version);
    if (found) this.#records.set(key, found);
    return found;
  }

  /** Replaces the cached record of a version that was published or whose status changed. */
  keep(model: number, { version, status, manifest_digest, revision }: VersionRecord): void {
    this.#records.set(`${model} ${version}`, { version, status, manifest_digest, revision });
  }

  version(model: number, version: string): VersionState | null {
    const row = this.#db.query<VersionRow>(`${VERSIONS} WHERE v.model = ? AND v.version = ?`).get(model, version);
    return row && versionOf(row);
  }

  pushed(revision: number): StackEntry {
    const sql = 'SELECT revision, version, below FROM event WHERE revision = ?';
    const found = this.#db.query<StackEntry>(sql).get(revision);
    if (!found) throw new Error(`the read model has no event ${revision}`);
    return found;
  }

  outcome(model: number, actor: string, key: string, now: string): KeptOutcome | null {
    const sql = `SELECT revision, command_hash, at FROM event
      WHERE model = ? AND actor = ? AND idempotency_key = ? ORDER BY revision DESC LIMIT 1`;
    const found = this.#db.query<KeptOutcome & { at: number }>(sql).get(model, actor, key);
    if (!found || found.at <= Date.parse(now) - IDEMPOTENCY_WINDOW_MS) return null;
    return { command_hash: found.command_hash, revision: found.revision };
  }
}

/** A version as the database has it; its manifest is in the event that published it. */
export interface VersionRow extends Omit<VersionState, 'manifest' | 'published_at'> {
  time: string;
  manifest: string;
}

/** Selects rows of versions as `VersionRow`; the table of versions is `v`. */
export const VERSIONS = `SELECT v.version, v.status, v.manifest_digest, v.revision, v.notes, v.published_by,
  e.time, e.data ->> '$.manifest' AS manifest FROM version v JOIN event e ON e.revision = v.revision`;

export function versionOf({ time, manifest, ...row }: VersionRow): VersionState {
  return { ...row, manifest_digest: row.manifest_digest as Digest, published_at: time, manifest: JSON.parse(manifest) };
}

/** A model of the read model. */
export class StoredModel implements Model {
  readonly id: number;
  readonly name: string;
  readonly revision: number;
  readonly head: string;
  readonly time: string;
  readonly versionCount: number;
  readonly latest: string | null;
  readonly highest: string | null;
  readonly environments: ReadonlyMap<string, EnvironmentState>;
  readonly #lookups: Lookups;

  constructor(
    { id, name }: { id: number; name: string },
    header: Header,
    environments: ReadonlyMap<string, EnvironmentState>,
    lookups: Lookups,
  ) {
    this.id = id;
    this.name = name;
    this.revision = header.revision;
    this.head = header.head;
    this.time = header.time;
    this.versionCount = header.versionCount;
    this.latest = header.latest;
    this.highest = header.highest;
    this.environments = environments;
    this.#lookups = lookups;
  }

  version(version: string): VersionState | null {
    return this.#lookups.version(this.id, version);
  }

  record(version: string): VersionRecord | null {
    return this.#lookups.record(this.id, version);
  }

  pushed(revision: number): StackEntry {
    return this.#lookups.pushed(revision);
  }

  outcome(actor: string, key: string): KeptOutcome | null {
    return this.#lookups.outcome(this.id, actor, key, this.time);
  }
}
