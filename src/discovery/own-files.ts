import type { BigIntStats } from 'node:fs';
import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { ifMissing } from '../files/errno.ts';

/** Where the registry keeps its secret, and nats-server its store and its password. */
const OWN_FOLDERS = ['.signalbox', '.nats'];

/**
 * The first of some files that is one of the registry's own under another name: by a hard link, which adoption would
 * publish. Other hard links are as good as any file; the blobs themselves are such.
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
      // nats-server deletes files while it runs.
      const stat = await lstat(join(volume, folder, name), { bigint: true }).catch(ifMissing(null));
      if (stat) ids.add(idOf(stat));
    }
  }
  return ids;
}

function idOf({ dev, ino }: BigIntStats): string {
  return `${dev}:${ino}`;
}
