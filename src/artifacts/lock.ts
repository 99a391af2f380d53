import { mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

/** Longer than anybody looks whether the volume is locked, which nobody can take meanwhile. */
const LOOKING_MS = 200;

export interface Lock {
  release(): void;
}

/**
 * Takes the volume for this process. The lock is the operating system's on a file, which Node reaches through SQLite
 * only; it ends with the process however that ends, and holds between containers that share the volume.
 *
 * @throws {Error} where another process has it
 */
export function lockVolume(volume: string): Lock {
  const folder = join(volume, '.signalbox');
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const file = new DatabaseSync(join(folder, 'lock'), { timeout: LOOKING_MS });
  try {
    file.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE');
  } catch (cause) {
    file.close();
    throw new Error(`Another Signalbox is running on ${volume}: stop it, or give this one another REGISTRY_VOLUME.`, {
      cause,
    });
  }
  return { release: () => file.close() };
}

/** `SQLITE_BUSY` */
const BUSY = 5;

/** Whether a running Signalbox has the volume; it is looked at without taking or making anything. @throws {Error} */
export function isVolumeLocked(volume: string): boolean {
  const path = join(volume, '.signalbox', 'lock');
  if (!statSync(path, { throwIfNoEntry: false })) return false;
  const file = new DatabaseSync(path, { readOnly: true });
  try {
    file.exec('SELECT 1 FROM sqlite_master');
    return false;
  } catch (error) {
    if ((error as { errcode?: number }).errcode === BUSY) return true;
    throw error;
  } finally {
    file.close();
  }
}
