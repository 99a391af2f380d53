import { mkdtemp, open, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { VolumeStore } from '../artifacts/stores/volume.ts';
import { verified } from '../artifacts/verify.ts';
import type { Digest } from '../domain/digest.ts';
import { Problem } from '../domain/errors.ts';
import type { Artifact } from '../domain/manifest.ts';
import { ifMissing, isErrno } from '../files/errno.ts';
import { placeBlob } from '../files/place.ts';
import { LoadFailure } from './failure.ts';

const PIECE_BYTES = 128 * 1024;
export const UNFINISHED = '.new-'; // prefix of folders

/**
 * Ensures that a blob is in the store with the right bytes. It is verified even if it is there: a file may be damaged after
 * months on a disk.
 *
 * @throws {LoadFailure} digest-mismatch, cache-full
 */
export async function ensureBlob(
  store: VolumeStore,
  { digest, size, path }: Artifact,
  fetch: () => AsyncIterable<Uint8Array>,
): Promise<void> {
  const found = await stateOf(store.pathOf(digest), digest, size);
  if (found === 'whole') return;
  // `put` would keep a damaged blob. Nothing is deleted for a missing one: another process may have stored it by now.
  if (found === 'damaged') await store.delete(digest);
  try {
    await store.put(digest, fetch(), size);
  } catch (error) {
    if (isMismatch(error)) throw new LoadFailure('digest-mismatch', `${path}: ${error.message}`, error);
    if (error instanceof Problem && error.code === 'volume-full') {
      throw new LoadFailure('cache-full', `no room for ${path} (${size} bytes)`, error);
    }
    throw error;
  }
}

/** Ensures that a version's folder has its artifacts, whose blobs are in the store. @throws {LoadFailure} cache-full */
export async function ensureFolder(store: VolumeStore, folder: string, artifacts: readonly Artifact[]): Promise<void> {
  const isWhole = async () => {
    const placed = artifacts.map((artifact) => isPlaced(join(folder, artifact.path), artifact, store));
    return (await Promise.all(placed)).every(Boolean);
  };
  if (await isWhole()) return;
  try {
    const fresh = await mkdtemp(join(folder, '..', UNFINISHED));
    try {
      for (const { path, digest } of artifacts) await placeBlob(store.pathOf(digest), join(fresh, path), new Date(0));
      // Another process may have created the same folder by now, and may have opened files in it.
      if (!(await moveFolder(fresh, folder)) && !(await isWhole())) await replaceFolder(fresh, folder);
    } finally {
      await rm(fresh, { recursive: true, force: true });
    }
  } catch (error) {
    throw asCacheFull(error, folder);
  }
}

/** Converts the error of a full disk to cache-full; returns others as they are. */
export function asCacheFull(error: unknown, path: string): unknown {
  return isErrno(error, 'ENOSPC', 'EDQUOT') ? new LoadFailure('cache-full', `no room for ${path}`, error) : error;
}

function isMismatch(error: unknown): error is Problem {
  return error instanceof Problem && error.code === 'checksum-mismatch';
}

/** Whether a file is a link to the blob or an unchanged copy of it. */
async function isPlaced(path: string, { digest, size }: Artifact, store: VolumeStore): Promise<boolean> {
  const [file, blob] = await Promise.all([path, store.pathOf(digest)].map((path) => stat(path).catch(ifMissing(null))));
  if (!file || !blob) return false;
  return (file.ino === blob.ino && file.dev === blob.dev) || (await stateOf(path, digest, size)) === 'whole';
}

async function stateOf(path: string, digest: Digest, size: number): Promise<'whole' | 'damaged' | 'missing'> {
  try {
    for await (const _ of verified(readPieces(path), digest, size));
    return 'whole';
  } catch (error) {
    if (isMismatch(error)) return 'damaged';
    if (isErrno(error, 'ENOENT')) return 'missing';
    throw error;
  }
}

/** Reuses one buffer: hashing a file creates no garbage. The pieces are small, so that requests are not delayed. */
async function* readPieces(path: string): AsyncGenerator<Uint8Array> {
  const file = await open(path);
  try {
    const buffer = Buffer.allocUnsafeSlow(PIECE_BYTES);
    for (;;) {
      const { bytesRead } = await file.read(buffer, 0, PIECE_BYTES);
      if (bytesRead === 0) return;
      yield buffer.subarray(0, bytesRead);
    }
  } finally {
    await file.close();
  }
}

/** Moves the old folder first: `rename` cannot replace one that is not empty. Of several processes, the first wins. */
async function replaceFolder(fresh: string, path: string): Promise<void> {
  const old = `${fresh}-old`;
  try {
    await rename(path, old).catch(ifMissing(undefined));
    await moveFolder(fresh, path);
  } finally {
    await rm(old, { recursive: true, force: true });
  }
}

/** Returns false if the target exists and is not empty. */
async function moveFolder(from: string, to: string): Promise<boolean> {
  try {
    await rename(from, to);
    return true;
  } catch (error) {
    if (isErrno(error, 'ENOTEMPTY', 'EEXIST')) return false;
    throw error;
  }
}
