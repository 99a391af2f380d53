import { accessSync, constants, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { isErrno } from './errno.ts';
import { reasonOf, remedyOf } from './system-error.ts';

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
  const file = openLock(volume, folder);
  try {
    file.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE');
  } catch (cause) {
    file.close();
    if (!isBusy(cause)) throw notTaken(volume, cause);
    const { who, stop } = holderOf(folder);
    const message = `Another Signalbox is running on ${volume}${who}: stop it${stop}, or give this one another REGISTRY_VOLUME.`;
    throw new Error(message, { cause });
  }
  noteHolder(folder);
  return {
    release() {
      try {
        rmSync(join(folder, HOLDER), { force: true });
      } finally {
        file.close();
      }
    },
  };
}

/** Names the process that has the lock, for people. A killed one leaves it behind: it counts only while the lock is held. */
const HOLDER = 'running.json';

function openLock(volume: string, folder: string): DatabaseSync {
  const path = join(folder, 'lock');
  try {
    makeFolder(folder);
    // SQLite does not tell why a file cannot be opened or written.
    accessSync(folder, constants.R_OK | constants.W_OK | constants.X_OK);
    if (existsSync(path)) accessSync(path, constants.R_OK | constants.W_OK);
    return new DatabaseSync(path, { timeout: LOOKING_MS });
  } catch (cause) {
    throw notTaken(volume, cause);
  }
}

/** As mkdir does with `recursive`, which calls a read-only file system a missing folder. */
function makeFolder(path: string, mode = 0o700): void {
  try {
    mkdirSync(path, { mode });
  } catch (error) {
    if (isErrno(error, 'EEXIST')) return;
    if (!isErrno(error, 'ENOENT')) throw error;
    makeFolder(dirname(path), 0o777);
    mkdirSync(path, { mode });
  }
}

function notTaken(volume: string, cause: unknown): Error {
  const next = remedyOf(cause) ?? 'Look at the disk, and at who owns the volume.';
  return new Error(`The volume ${volume} cannot be used: ${reasonOf(cause)}. ${next}`, { cause });
}

function noteHolder(folder: string): void {
  try {
    writeFileSync(join(folder, HOLDER), JSON.stringify({ pid: process.pid, host: hostname() }), { mode: 0o600 });
  } catch {
    // On a full disk the registry must start all the same. An older note would name another process.
    rmSync(join(folder, HOLDER), { force: true });
  }
}

/** The words for the process that holds the lock; empty where its note cannot be read. */
function holderOf(folder: string): { who: string; stop: string } {
  try {
    const { pid, host } = JSON.parse(readFileSync(join(folder, HOLDER), 'utf8'));
    // A process id means something only on its own machine or in its own container.
    if (host !== hostname()) return { who: ` (process ${pid} on ${host})`, stop: ' there' };
    return { who: ` (process ${pid})`, stop: ` (kill ${pid})` };
  } catch {
    return { who: '', stop: '' };
  }
}

/** `SQLITE_BUSY` */
const BUSY = 5;

function isBusy(error: unknown): boolean {
  return (error as { errcode?: number }).errcode === BUSY;
}

/** Whether a running Signalbox has the volume; it is looked at without taking or making anything. @throws {Error} */
export function isVolumeLocked(volume: string): boolean {
  const path = join(volume, '.signalbox', 'lock');
  if (!statSync(path, { throwIfNoEntry: false })) return false;
  const file = new DatabaseSync(path, { readOnly: true });
  try {
    file.exec('SELECT 1 FROM sqlite_master');
    return false;
  } catch (error) {
    if (isBusy(error)) return true;
    throw error;
  } finally {
    file.close();
  }
}
