import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

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
  const file = new DatabaseSync(join(folder, 'lock'));
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
