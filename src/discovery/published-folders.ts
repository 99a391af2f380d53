import { lstat, mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { isErrno } from '../files/errno.ts';
import type { Connection } from '../projections/read-model/connection.ts';
import { versionFolder } from '../projections/volume/layout.ts';
import { type PublishedVersion, versionsAfter } from '../projections/volume/versions.ts';

/** The number of published folders that are looked at in a scan. */
const FOLDERS_PER_SCAN = 200;
/** For the granularity of a file system's clock. */
const MARGIN_MS = 2_000;
const SAVE_EVERY_MS = 60_000;

export interface PublishedFoldersOptions {
  volume: string;
  db(): Connection;
  /** Brings the folder of a published version up to date. */
  check(model: string, version: string): Promise<void>;
  closed(): boolean;
  /** The current time in ms; default: Date.now. */
  now?(): number;
}

/**
 * Finds changes in the folders of published versions: a round over all of them looks at some in each scan. What is
 * remembered is the start of the last complete round, also over restarts: a folder that changed since then is checked file
 * by file.
 */
export function watchPublishedFolders({ volume, db, check, closed, now = Date.now }: PublishedFoldersOptions) {
  const file = join(volume, '.signalbox', 'discovery.json');
  let since: number | null = null;
  let saved = 0;
  let round = { started: 0, revision: 0 };

  return { scan };

  async function scan(): Promise<void> {
    since ??= await lastRound(file);
    if (round.revision === 0) round = { started: now(), revision: 0 };
    const page = versionsAfter(db(), round.revision, FOLDERS_PER_SCAN);
    for (const version of page) {
      if (closed()) return;
      if (await changedAfter(version, since - MARGIN_MS)) await check(version.model, version.version);
    }
    if (page.length === FOLDERS_PER_SCAN) {
      round.revision = page.at(-1)!.revision;
      return;
    }
    since = round.started;
    round.revision = 0;
    if (since - saved < SAVE_EVERY_MS) return;
    await saveRound(file, since);
    saved = since;
  }

  /** A folder that is not there, or not any more, is none of the changes. */
  async function changedAfter({ model, version }: PublishedVersion, time: number): Promise<boolean> {
    try {
      // Unlike the mtime, a copy cannot set the ctime.
      return (await lstat(versionFolder(volume, model, version))).ctimeMs > time;
    } catch (error) {
      if (isErrno(error, 'ENOENT', 'ENOTDIR')) return false;
      throw error;
    }
  }
}

/** Without a valid file, every folder is checked in the next round. */
async function lastRound(file: string): Promise<number> {
  const text = await readFile(file, 'utf8').catch(() => '');
  try {
    const { round_started_at } = JSON.parse(text) as { round_started_at?: unknown };
    return typeof round_started_at === 'number' ? round_started_at : 0;
  } catch {
    return 0;
  }
}

/** Not synced: a crash of the machine costs a round that checks more. */
async function saveRound(file: string, round_started_at: number): Promise<void> {
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  await writeFile(file, JSON.stringify({ round_started_at }), { mode: 0o600 });
}
