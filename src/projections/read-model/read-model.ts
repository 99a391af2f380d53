import type { Logger } from 'pino';
import type { RegistryEvent } from '../../domain/events.ts';
import type { Change, Model } from '../../domain/model.ts';
import { type LogPosition, START } from '../../log/identity.ts';
import { hashOf, type LogMessage } from '../../log/read.ts';
import { BoundedMap } from '../../structures/bounded-map.ts';
import type { Connection } from './connection.ts';
import { closeQuietly, createFile, IN_MEMORY, NOT_WRITTEN, openFile } from './file.ts';
import { fold } from './fold.ts';
import { type Frozen, ModelTable, type StoredEntry } from './model-table.ts';
import { OrderDigest } from './order-digest.ts';
import { Rows } from './rows.ts';
import { INDEXES } from './schema.ts';
import { EMPTY, Lookups, StoredModel } from './stored-model.ts';

/** Revisions that are missing from the log, both included. */
export interface Gap {
  first: number;
  last: number;
}

export interface ReadModelOptions {
  /** Its file, or `IN_MEMORY`. */
  path: string;
  log: Pick<Logger, 'warn' | 'error'>;
  /**
   * Called for every query that finds the open file damaged: `reset` must follow, but not before the caller has returned.
   * A file whose damage is found while it is opened is made anew at once.
   */
  onDamage?(): void;
}

/** What reads and writes the tables of one connection. */
interface Tables {
  lookups: Lookups;
  rows: Rows;
  models: ModelTable;
}

function tablesOf(db: Connection): Tables {
  const lookups = new Lookups(db);
  return { lookups, rows: new Rows(db), models: new ModelTable(db, lookups) };
}

/** The number of models that are kept in memory: a few kilobytes each. */
const MAX_MODELS = 4_096;

/**
 * The fold of the log, in SQLite: every model, the events, and the position in the log, which changes in the same
 * transaction. So after any crash it is the fold of the log up to its position. What it states can always be computed from
 * the log again.
 */
export class ReadModel {
  readonly #options: ReadModelOptions;
  readonly #order = new OrderDigest();
  #db: Connection;
  #tables: Tables;
  #position: LogPosition = START;
  #committed: LogPosition = START;
  #opening = 0;
  #opened = false;
  #inTransaction = false;
  readonly #models = new BoundedMap<string, StoredEntry>(MAX_MODELS);
  /** Models changed in the transaction, which writes them at its end. */
  readonly #changed = new Map<string, StoredEntry>();
  readonly #frozen = new Map<string, Frozen>();
  readonly #gaps: Gap[] = [];
  #count = 0;

  /** Opens the file, or makes it. Its position is that of the last transaction. */
  constructor(options: ReadModelOptions) {
    this.#options = options;
    this.#db = openFile(options.path, this.#damaged, options.log);
    this.#tables = tablesOf(this.#db);
    try {
      this.#load();
    } catch (err) {
      options.log.warn({ err }, 'the read model is made anew from the log');
      this.reset(0);
    }
    this.#opened = true;
  }

  /** How far the log was folded. The object is replaced with every message. */
  get position(): LogPosition {
    return this.#position;
  }

  /** The position at the last commit, which lists include. */
  get committed(): LogPosition {
    return this.#committed;
  }

  /** For queries. It is another one after `reset`. */
  get db(): Connection {
    return this.#db;
  }

  /** Raised when the file is made anew: other connections to it must be opened again. */
  get opening(): number {
    return this.#opening;
  }

  /** The number of models that the log has messages of. */
  get modelCount(): number {
    return this.#count;
  }

  /** Every frozen model. Its later events are unknown here, and may publish versions. */
  get frozenModels(): ReadonlyMap<string, Frozen> {
    return this.#frozen;
  }

  /** The gaps of the log up to the position. */
  get gaps(): readonly Gap[] {
    return this.#gaps;
  }

  /** Returns a model as it is after its last applied event; without events for an unknown name. */
  model(name: string): Model {
    return this.#entry(name)?.model ?? new StoredModel({ id: 0, name }, EMPTY, new Map(), this.#tables.lookups);
  }

  frozen(name: string): Frozen | null {
    return this.#frozen.get(name) ?? null;
  }

  /** The SHA-256 over the order of all messages (`OrderDigest`), in hexadecimal. */
  orderDigest(): string {
    return this.#order.hex();
  }

  /**
   * Folds the next message of the log, in a transaction that `commit` ends. Returns its event; null if it freezes its model
   * or is ignored.
   *
   * @throws {Error} if it cannot be written; then everything since the last `commit` is undone
   */
  fold(message: LogMessage): RegistryEvent | null {
    return this.#writing(() => {
      const { revision, model: name, body } = message;
      const hash = hashOf(body);
      const entry = this.#entry(name) ?? this.#create(name);
      const event = this.#frozen.has(name) ? null : this.#apply(entry, message, hash);
      entry.last = { revision, hash };
      this.#changed.set(name, entry);
      this.#order.add(revision, name, hash);
      const { generation, epoch } = this.#position;
      this.#position = { generation, epoch: epoch ?? (revision === 1 ? hash : null), revision, hash };
      return event;
    });
  }

  /** Notes revisions that are missing before the next message, in its transaction. @throws {Error} as `fold` */
  noteGap(gap: Gap): void {
    this.#writing(() => this.#db.query('INSERT INTO gap VALUES (?, ?)').run(gap.first, gap.last));
    this.#gaps.push(gap);
  }

  /** Ends the transaction. @throws {Error} if it cannot be written; then everything since the last `commit` is undone */
  commit(): void {
    if (!this.#inTransaction) return;
    this.#writing(() => {
      for (const [name, entry] of this.#changed) this.#tables.models.write(entry, this.#frozen.get(name) ?? null);
      this.#writePosition();
      this.#db.exec('COMMIT');
      this.#inTransaction = false;
      this.#changed.clear();
      this.#committed = this.#position;
    });
  }

  /** Makes the indexes that only queries use, if they are missing. */
  index(): void {
    this.commit();
    this.#db.exec(INDEXES);
  }

  /** Discards everything, and begins at the start of the log. @param inMemory leave the file */
  reset(generation: number, inMemory = false): void {
    closeQuietly(this.#db);
    this.#opening++;
    this.#opened = false;
    this.#inTransaction = false;
    const { path, log } = this.#options;
    if (inMemory) log.warn({ path }, NOT_WRITTEN);
    this.#db = createFile(inMemory ? IN_MEMORY : path, generation, this.#damaged, log);
    this.#forget();
    this.#load();
    this.#opened = true;
  }

  /** Undoes what was not committed. */
  close(): void {
    closeQuietly(this.#db);
  }

  readonly #damaged = (err: unknown): void => {
    this.#options.log.error({ err }, 'the read model is damaged');
    if (this.#opened) this.#options.onDamage?.();
  };

  #entry(name: string): StoredEntry | null {
    const known = this.#models.get(name) ?? this.#changed.get(name);
    if (known) return known;
    const found = this.#tables.models.read(name);
    if (found) this.#models.set(name, found);
    return found;
  }

  #create(name: string): StoredEntry {
    const entry = this.#tables.models.create(name);
    this.#models.set(name, entry);
    this.#count++;
    return entry;
  }

  #apply(entry: StoredEntry, message: LogMessage, hash: string): RegistryEvent | null {
    const folded = fold(entry.model, message, hash);
    if ('frozen' in folded) {
      this.#frozen.set(message.model, { revision: message.revision, reason: folded.frozen });
      return null;
    }
    const { event, change } = folded;
    if (event) this.#tables.rows.add(entry.model.id, event, change);
    this.#keepRecord(entry.model, change);
    entry.model = this.#tables.models.changed(entry.model, change);
    return event;
  }

  #keepRecord(model: StoredModel, { published, status }: Change): void {
    if (published) this.#tables.lookups.keep(model.id, published);
    if (status) this.#tables.lookups.keep(model.id, { ...model.record(status.version)!, status: status.status });
  }

  #writing<T>(write: () => T): T {
    try {
      if (!this.#inTransaction) this.#db.exec('BEGIN IMMEDIATE');
      this.#inTransaction = true;
      return write();
    } catch (error) {
      this.#undo();
      throw error;
    }
  }

  #undo(): void {
    this.#forget();
    this.#inTransaction = false;
    try {
      this.#db.exec('ROLLBACK');
    } catch {
      // SQLite may have rolled back by itself
    }
    this.#load();
  }

  #forget(): void {
    this.#models.clear();
    this.#changed.clear();
    this.#frozen.clear();
    this.#gaps.length = 0;
    this.#tables = tablesOf(this.#db);
    this.#count = 0;
  }

  #load(): void {
    const sql = 'SELECT generation, epoch, revision, hash, digest FROM position';
    const row = this.#db.query<LogPosition & { digest: Uint8Array }>(sql).get();
    if (!row) throw new Error('it has no position');
    const { digest, ...position } = row;
    this.#order.load(digest);
    this.#position = position;
    this.#committed = position;
    this.#count = this.#tables.models.count();
    for (const [name, frozen] of this.#tables.models.frozen()) this.#frozen.set(name, frozen);
    this.#gaps.push(...this.#db.query<Gap>('SELECT first, last FROM gap ORDER BY first').all());
  }

  #writePosition(): void {
    const { generation, epoch, revision, hash } = this.#position;
    const sql = 'UPDATE position SET generation = ?, epoch = ?, revision = ?, hash = ?, digest = ?';
    this.#db.query(sql).run(generation, epoch, revision, hash, this.#order.save());
  }
}
