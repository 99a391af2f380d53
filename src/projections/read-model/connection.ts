import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite';
import { Problem } from '../../domain/errors.ts';

export type Value = SQLInputValue;

/** A prepared statement; `R` is the row that its columns make. */
export interface Query<R> {
  get(...values: Value[]): R | null;
  all(...values: Value[]): R[];
  iterate(...values: Value[]): Iterable<R>;
  run(...values: Value[]): void;
}

/** SQLite's primary result codes for a file that does not hold a database any more. */
const DAMAGED = [10 /* IOERR */, 11 /* CORRUPT */, 26 /* NOTADB */];
const CACHE_KIB = 16 * 1024;
/** 16 MiB. The thread of the lists checkpoints long before that, so that the event loop need not wait for the disk. */
const CHECKPOINT_PAGES = 4_000;
const MAX_PREPARED = 500;

/** Whether an error of SQLite means that the file has to be made anew. */
export function isDamage(error: unknown): boolean {
  const { errcode } = error as { errcode?: number };
  return errcode !== undefined && DAMAGED.includes(errcode & 0xff);
}

/** A connection to a database. Each statement is prepared once. */
export class Connection {
  readonly path: string;
  readonly #database: DatabaseSync;
  readonly #prepared = new Map<string, Query<unknown>>();
  readonly #onDamage: (error: unknown) => void;
  #closed = false;

  /** @param onDamage called when SQLite finds the file damaged; the query then throws `log-unavailable` */
  constructor(path: string, onDamage: (error: unknown) => void = () => {}) {
    this.path = path;
    this.#onDamage = onDamage;
    // No other process has reason to hold a lock; one that does must not stop the event loop for long.
    this.#database = new DatabaseSync(path, { timeout: 1_000 });
    try {
      const { journal_mode } = this.#database.prepare('PRAGMA journal_mode = WAL').get() as { journal_mode: string };
      // Without it, as on some network file systems, the thread of the lists and the writer would lock each other out.
      if (journal_mode === 'delete') throw new Error('its file system does not support a write-ahead log');
      // A crash of the machine may lose the last transactions, which are read from the log again, but damages nothing.
      this.#database.exec(`PRAGMA synchronous = NORMAL; PRAGMA cache_size = -${CACHE_KIB};
        PRAGMA wal_autocheckpoint = ${CHECKPOINT_PAGES}`);
    } catch (error) {
      this.#database.close();
      throw error;
    }
  }

  /** Executes statements without parameters. */
  exec(sql: string): void {
    this.#guarded(() => this.#database.exec(sql));
  }

  /** Returns the statement; `R` states its columns. */
  query<R>(sql: string): Query<R> {
    const known = this.#prepared.get(sql);
    if (known) return known as Query<R>;
    const made = this.#query<R>(this.#guarded(() => this.#database.prepare(sql)));
    if (this.#prepared.size >= MAX_PREPARED) this.#prepared.clear();
    this.#prepared.set(sql, made as Query<unknown>);
    return made;
  }

  /** Runs queries that all see the same state, whatever other connections commit meanwhile. */
  snapshot<T>(read: () => T): T {
    // Not BEGIN: the connection that writes may be in a transaction.
    this.exec('SAVEPOINT snapshot');
    try {
      return read();
    } finally {
      this.exec('RELEASE snapshot');
    }
  }

  close(): void {
    this.#closed = true;
    this.#prepared.clear();
    this.#database.close();
  }

  #query<R>(statement: StatementSync): Query<R> {
    return {
      get: (...values) => this.#guarded(() => (statement.get(...values) as R | undefined) ?? null),
      all: (...values) => this.#guarded(() => statement.all(...values) as R[]),
      iterate: (...values) => this.#rows(statement, values) as Iterable<R>,
      run: (...values) => void this.#guarded(() => statement.run(...values)),
    };
  }

  *#rows(statement: StatementSync, values: Value[]): Generator<unknown> {
    const rows = this.#guarded(() => statement.iterate(...values));
    try {
      for (;;) {
        const { done, value } = this.#guarded(() => rows.next());
        if (done) return;
        yield value;
      }
    } finally {
      rows.return?.();
    }
  }

  #guarded<T>(run: () => T): T {
    try {
      return run();
    } catch (error) {
      if (!isDamage(error) && !this.#closed) throw error;
      if (!this.#closed) this.#onDamage(error);
      const detail = 'The read model is being made anew from the log. Try again.';
      throw new Problem('log-unavailable', detail, {}, error);
    }
  }
}
