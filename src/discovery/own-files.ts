import type { BigIntStats } from 'node:fs';
import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { ifMissing } from '../files/errno.ts';

/** The folders with the registry's secret, and with the store and the password of nats-server. */
const OWN_FOLDERS = ['.signalbox', '.nats'];

/**
 * Returns the first of the files that is a hard link to one of the registry's own files, which adoption would publish. Other
 * hard links are allowed: published files are hard links to blobs.
 */
export async function ownFileAmong(volume: string, paths: readonly string[]): Promise<string | null> {
  const linked: { path: string; id: string }[] = [];
  for (const path of paths) {
    const stat = await lstat(path, { bigint: true });
    if (stat.nlink > 1n) linked.push({ path, id: idOf(stat) });
  }
  if (linked.length === 0) return null;
  const own = await ownFiles(volume);
  return linked.find(({ id }) => own.has(id))?.path ?? null;
}

async function ownFiles(volume: string): Promise<Set<string>> {
  const ids = new Set<string>();
  for (const folder of OWN_FOLDERS) {
    for (const name of await readdir(join(volume, folder), { recursive: true }).catch(ifMissing([]))) {
      // nats-server deletes files while it runs, so a file may be missing now.
      const stat = await lstat(join(volume, folder, name), { bigint: true }).catch(ifMissing(null));
      if (stat) ids.add(idOf(stat));
    }
  }
  return ids;
}

function idOf({ dev, ino }: BigIntStats): string {
  return `${dev}:${ino}`;
}
