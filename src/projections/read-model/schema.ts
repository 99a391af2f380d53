import { sha256Hex } from '../../domain/digest.ts';
import { EVENT_VERSIONS } from '../../domain/events.ts';

/** The events that say what a version was at a moment. A query must repeat the list to use the index on them. */
export const OF_VERSION = `type IN ('version.published', 'version.archived', 'version.restored', 'notes.changed')`;

/**
 * The read model. `event` has every applied event with its data, so that nothing has to be read from the log again; what
 * it states is not repeated elsewhere, except where a query needs an index of it. `version.revision` is the revision of the
 * event that published the version, whose data has the manifest.
 */
const TABLES = `
CREATE TABLE position (
  generation INTEGER NOT NULL, epoch TEXT, revision INTEGER NOT NULL, hash TEXT,
  digest BLOB NOT NULL -- of the order of all messages, to be continued
);
CREATE TABLE gap (first INTEGER NOT NULL, last INTEGER NOT NULL); -- revisions that are missing from the log
CREATE TABLE model (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,
  revision INTEGER NOT NULL, head TEXT NOT NULL, time TEXT NOT NULL,
  versions INTEGER NOT NULL, latest TEXT, highest TEXT,
  last_revision INTEGER NOT NULL, last_hash TEXT NOT NULL, -- of the last message, applied or not
  frozen_revision INTEGER, frozen_reason TEXT
);
CREATE INDEX model_by_revision ON model (revision);
CREATE TABLE environment (
  model INTEGER NOT NULL, name TEXT NOT NULL, ordinal INTEGER NOT NULL,
  version TEXT, -- the active one
  state TEXT NOT NULL, -- EnvironmentState as JSON
  PRIMARY KEY (model, name)
) WITHOUT ROWID;
CREATE TABLE version (
  revision INTEGER PRIMARY KEY, model INTEGER NOT NULL, version TEXT NOT NULL,
  status TEXT NOT NULL, manifest_digest TEXT NOT NULL, notes TEXT NOT NULL,
  flavor TEXT NOT NULL, published_at INTEGER NOT NULL, published_by TEXT NOT NULL,
  is_release INTEGER NOT NULL, precedence TEXT NOT NULL,
  UNIQUE (model, version)
);
CREATE INDEX version_of_model ON version (model);
CREATE INDEX version_by_status ON version (model, status, is_release, precedence);
CREATE TABLE event (
  revision INTEGER PRIMARY KEY, model INTEGER NOT NULL, type TEXT NOT NULL,
  time TEXT NOT NULL, at INTEGER NOT NULL, actor TEXT NOT NULL, request_id TEXT NOT NULL,
  environment TEXT, version TEXT, previous TEXT,
  below INTEGER, -- of a pushed stack entry, the entry below it
  idempotency_key TEXT, command_hash TEXT,
  data TEXT NOT NULL
);
CREATE TABLE artifact (digest TEXT NOT NULL, model INTEGER NOT NULL, PRIMARY KEY (digest, model)) WITHOUT ROWID;
CREATE TABLE reference ( -- where the bytes of artifacts are that the store does not keep, as they were last verified
  digest TEXT NOT NULL, source TEXT NOT NULL, size INTEGER NOT NULL, etag TEXT,
  PRIMARY KEY (digest, source)
) WITHOUT ROWID;
CREATE TABLE attribute_key (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE); -- such as metrics.auc
CREATE TABLE attribute (
  revision INTEGER NOT NULL, -- of the version
  key INTEGER NOT NULL, model INTEGER NOT NULL, value NOT NULL,
  PRIMARY KEY (revision, key)
) WITHOUT ROWID;
CREATE VIRTUAL TABLE notes_text USING fts5 (notes, content = '', contentless_delete = 1);
CREATE VIRTUAL TABLE reason_text USING fts5 (reason, content = '');
`;

/** Made when the log was read to its end for the first time: in the growing tables they cost a third more time (docs/performance.md). */
export const INDEXES = `
CREATE INDEX IF NOT EXISTS event_of_model ON event (model);
CREATE INDEX IF NOT EXISTS event_of_environment ON event (model, environment) WHERE environment IS NOT NULL;
CREATE INDEX IF NOT EXISTS event_of_version ON event (model, version) WHERE ${OF_VERSION};
CREATE INDEX IF NOT EXISTS event_of_key ON event (model, actor, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX IF NOT EXISTS version_by_precedence ON version (model, precedence);
CREATE INDEX IF NOT EXISTS version_by_time ON version (model, published_at);
CREATE INDEX IF NOT EXISTS attribute_of_value ON attribute (model, key, value);
`;

/** Raise it when the same tables are filled in another way. */
const PROJECTION = 1;

/**
 * Returns the mark of code that reads events up to these versions: a model that is frozen at an event of a newer one must be
 * read again by code that knows it.
 */
export function markOf(reads: Readonly<Record<string, number>>): string {
  return sha256Hex(`${PROJECTION}\n${JSON.stringify(reads)}\n${TABLES}\n${INDEXES}`).slice(0, 16);
}

/** A file with another mark was made by other code, and is made anew. */
export const MARK = markOf(EVENT_VERSIONS);

/** Returns the statements that make an empty read model at the start of a log. @param digest of no messages */
export function createAt(generation: number, digest: Uint8Array): string {
  return `${TABLES}
    CREATE TABLE made_by (mark TEXT NOT NULL);
    INSERT INTO made_by VALUES ('${MARK}');
    INSERT INTO position VALUES (${generation}, NULL, 0, NULL, x'${Buffer.from(digest).toString('hex')}');`;
}
