import { accessSync, constants, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { isErrno } from './errno.ts';
import { reasonOf, remedyOf } from './system-error.ts';

/** Longer than `isVolumeLocked` holds its read lock, which delays this one. */
const LOCK_TIMEOUT_MS = 200;

/**
 * Locks the volume for this process with a file lock of the operating system, which Node offers only through SQLite. The
 * lock ends with the process, even after a crash, and also works between containers that share the volume.
 *
 * @throws {Error} if another process holds the lock
 */
export function lockVolume(volume: string): { release(): void } {
  const folder = join(volume, '.signalbox');
  const file = openLock(volume, folder);
  try {
    file.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE');
  } catch (cause) {
    file.close();
    if (!isBusy(cause)) throw notTaken(volume, cause);
    const { holder, stop } = holderOf(folder);
    const message = `Another Signalbox is running on ${volume}${holder}. Stop it${stop}, or set another REGISTRY_VOLUME.`;
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

/** Names the process that holds the lock, for messages. It is only valid while the lock is held: a killed process leaves it. */
const HOLDER = 'running.json';

function openLock(volume: string, folder: string): DatabaseSync {
  const path = join(folder, 'lock');
  try {
    makeFolder(folder);
    // SQLite does not report why a file cannot be opened or written.
    accessSync(folder, constants.R_OK | constants.W_OK | constants.X_OK);
    if (existsSync(path)) accessSync(path, constants.R_OK | constants.W_OK);
    return new DatabaseSync(path, { timeout: LOCK_TIMEOUT_MS });
  } catch (cause) {
    throw notTaken(volume, cause);
  }
}

/** As mkdir with `recursive`, which reports a read-only file system as a missing folder. */
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
  const next = remedyOf(cause) ?? 'Check the disk, and the owner of the volume.';
  return new Error(`The volume ${volume} cannot be used: ${reasonOf(cause)}. ${next}`, { cause });
}

function noteHolder(folder: string): void {
  try {
    writeFileSync(join(folder, HOLDER), JSON.stringify({ pid: process.pid, host: hostname() }), { mode: 0o600 });
  } catch {
    // The registry must start on a full disk too. An older file would name another process.
    rmSync(join(folder, HOLDER), { force: true });
  }
}

/** Message parts about the process that holds the lock; empty if its file cannot be read. */
function holderOf(folder: string): { holder: string; stop: string } {
  try {
    const { pid, host } = JSON.parse(readFileSync(join(folder, HOLDER), 'utf8'));
    // A process id is only meaningful on its own machine or in its own container.
    if (host !== hostname()) return { holder: ` (process ${pid} on ${host})`, stop: ' there' };
    return { holder: ` (process ${pid})`, stop: ` (kill ${pid})` };
  } catch {
    return { holder: '', stop: '' };
  }
}

/** `SQLITE_BUSY` */
const BUSY = 5;

function isBusy(error: unknown): boolean {
  return (error as { errcode?: number }).errcode === BUSY;
}

/** Returns whether a running Signalbox holds the lock. Keeps no lock and creates nothing. @throws {Error} */
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
