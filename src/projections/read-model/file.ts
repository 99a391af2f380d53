import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Logger } from 'pino';
import { Connection } from './connection.ts';
import { OrderDigest } from './order-digest.ts';
import { createAt, MARK } from './schema.ts';

/** A database in memory: for tests, and for a volume on which no file can be written. */
export const IN_MEMORY = ':memory:';

/** What the log says of a read model in memory that should be in a file. */
export const NOT_WRITTEN = 'the read model cannot be written to the volume; it is in memory until the next start';

export function readModelFile(volume: string): string {
  return join(volume, '.signalbox', 'read-model.db');
}

type Warn = Pick<Logger, 'warn'>;

/**
 * Opens the read model's file. A file that this code did not make, or that SQLite cannot use, is made anew: everything in
 * it follows from the log. If no file can be written, the read model is in memory until the next start.
 */
export function openFile(path: string, onDamage: (error: unknown) => void, log: Warn): Connection {
  return existing(path, onDamage, log) ?? createFile(path, 0, onDamage, log);
}

/** Removes the file if there is one, and makes one at the start of a log of this generation. */
export function createFile(
  path: string,
  generation: number,
  onDamage: (error: unknown) => void,
  log: Warn,
): Connection {
  try {
    removeFile(path);
    if (path !== IN_MEMORY) mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    return created(path, generation, onDamage);
  } catch (err) {
    if (path === IN_MEMORY) throw err;
    log.warn({ err, path }, NOT_WRITTEN);
    return created(IN_MEMORY, generation, onDamage);
  }
}

function existing(path: string, onDamage: (error: unknown) => void, log: Warn): Connection | null {
  if (path === IN_MEMORY || !existsSync(path)) return null;
  let db: Connection | undefined;
  try {
    db = new Connection(path, onDamage);
    const tables = db.query<{ name: string }>(`SELECT name FROM sqlite_schema WHERE name = 'made_by'`).all();
    if (tables.length === 0) throw new Error('it is empty, or not a read model');
    const { mark } = db.query<{ mark: string }>('SELECT mark FROM made_by').get() ?? {};
    if (mark !== MARK) throw new Error(`it was made by other code (${mark}, not ${MARK})`);
    db.exec('UPDATE made_by SET mark = mark'); // fails now if it cannot be written
    return db;
  } catch (err) {
    closeQuietly(db);
    log.warn({ err, path }, 'the read model is made anew from the log');
    return null;
  }
}

function created(path: string, generation: number, onDamage: (error: unknown) => void): Connection {
  const db = new Connection(path, onDamage);
  try {
    db.exec(`BEGIN; ${createAt(generation, new OrderDigest().save())} COMMIT`);
    return db;
  } catch (error) {
    closeQuietly(db);
    throw error;
  }
}

function removeFile(path: string): void {
  if (path === IN_MEMORY) return;
  for (const suffix of ['', '-wal', '-shm', '-journal']) rmSync(path + suffix, { force: true });
}

export function closeQuietly(db: Connection | undefined): void {
  try {
    db?.close();
  } catch {
    // a damaged file may not close; its descriptor is freed all the same
  }
}
