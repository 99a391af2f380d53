import { lstat } from 'node:fs/promises';
import type { VolumeStore } from '../../artifacts/stores/volume.ts';
import type { Digest } from '../../domain/digest.ts';
import { type Artifact, distinctBlobs } from '../../domain/manifest.ts';
import { ifMissing } from '../../files/errno.ts';
import { modelNames } from '../read-model/models.ts';
import type { ReadModel } from '../read-model/read-model.ts';
import { isReferenced } from '../read-model/references.ts';
import { foldersOf } from './background.ts';
import { linkedVersions, unpublishedOf } from './versions.ts';

/** What was used more recently stays: a folder that is being laid links to its blobs one after the other. */
const RECENT_MS = 10 * 60_000;

export interface EvictionOptions {
  volume: string;
  copies: VolumeStore;
  readModel: Pick<ReadModel, 'db' | 'model'>;
  /** Whether the store has a blob. */
  isStored(digest: Digest): Promise<boolean>;
  /** Bytes of copies that stay. */
  limit: number;
  /** Removes the folder of a version, unless it is active or `latest`, or has other files; returns whether it did. */
  remove(model: string, version: string): Promise<boolean>;
  now: number;
}

/**
 * Deletes the copies of a store's blobs that were unused for longest, until the rest fits: first those that no folder links
 * to, then those of versions that are neither active nor `latest`, with their folders. A hard link keeps the space of a blob,
 * so a blob without its folder frees nothing. What the store lacks stays, if a version needs it: while artifacts are moved to
 * another store, and after the store lost a blob, the copy may be the only one.
 *
 * @returns the number of bytes that were freed
 */
export async function evict(options: EvictionOptions): Promise<number> {
  const { copies, limit, now, remove } = options;
  let total = 0;
  const loose: { digest: Digest; size: number; used: number }[] = [];
  for await (const { digest, size, stored_at } of copies.list()) {
    total += size;
    if (stored_at < now - RECENT_MS && (await linksTo(digest, copies)) === 1)
      loose.push({ digest, size, used: stored_at });
  }
  const before = total;
  for (const { digest, size } of loose.sort(leastRecent)) {
    if (total <= limit) break;
    if (await isOnly(digest, options)) continue;
    await copies.delete(digest);
    total -= size;
  }
  if (total <= limit) return before - total;
  for (const { model, version, blobs } of (await unusedVersions(options)).sort(leastRecent)) {
    if (total <= limit) break;
    if (await anyOf(blobs, ({ digest }) => isOnly(digest, options))) continue;
    if (!(await remove(model, version))) continue;
    for (const { digest, size } of blobs) {
      if ((await linksTo(digest, copies)) !== 1) continue;
      await copies.delete(digest);
      total -= size;
    }
  }
  return before - total;
}

interface Unused {
  model: string;
  version: string;
  blobs: Artifact[];
  used: number;
}

/** Returns the laid versions that no link points to and that were not used recently. */
async function unusedVersions({ volume, copies, readModel, now }: EvictionOptions): Promise<Unused[]> {
  const unused: Unused[] = [];
  for (const model of modelNames(readModel.db)) {
    const folders = [...(await foldersOf(volume, model))];
    const others = new Set([...linkedVersions(readModel.model(model)), ...unpublishedOf(readModel.db, model, folders)]);
    for (const version of folders.filter((name) => !others.has(name))) {
      const artifacts = readModel.model(model).version(version)?.manifest.artifacts ?? [];
      const times = artifacts.map(({ digest }) => lstat(copies.pathOf(digest)).catch(ifMissing(null)));
      const used = Math.max(0, ...(await Promise.all(times)).map((found) => found?.mtimeMs ?? 0));
      if (used < now - RECENT_MS) unused.push({ model, version, blobs: distinctBlobs(artifacts), used });
    }
  }
  return unused;
}

/** Whether a copy is of a blob that a version needs and the store lacks. */
async function isOnly(digest: Digest, { readModel, isStored }: EvictionOptions): Promise<boolean> {
  return isReferenced(readModel.db, digest) && !(await isStored(digest));
}

async function anyOf<T>(items: readonly T[], holds: (item: T) => Promise<boolean>): Promise<boolean> {
  for (const item of items) if (await holds(item)) return true;
  return false;
}

async function linksTo(digest: Digest, copies: VolumeStore): Promise<number> {
  return (await lstat(copies.pathOf(digest)).catch(ifMissing(null)))?.nlink ?? 0;
}

function leastRecent(a: { used: number }, b: { used: number }): number {
  return a.used - b.used;
}
