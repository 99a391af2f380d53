import { lstat, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Artifacts } from '../../artifacts/artifacts.ts';
import { bytesIn } from '../../artifacts/bytes-in.ts';
import type { Copies } from '../../artifacts/copies.ts';
import { type BlobState, inspectBlob, slowly, stateShownBy } from '../../artifacts/scrub.ts';
import type { ArtifactStore } from '../../artifacts/store.ts';
import type { FileId } from '../../artifacts/stores/volume.ts';
import { verified } from '../../artifacts/verify.ts';
import type { Digest } from '../../domain/digest.ts';
import { ifMissing } from '../../files/errno.ts';
import { obstacleTo } from './layout.ts';
import type { VersionFile } from './version-files.ts';

/** What a scrub found and did: `lost` bytes are damaged, and there is no intact copy of them. */
export const SCRUB_RESULTS = ['intact', 'restored', 'lost', 'missing'] as const;
export type ScrubResult = (typeof SCRUB_RESULTS)[number];

export interface RepairOptions<File extends VersionFile = VersionFile> {
  volume: string;
  artifacts: Pick<Artifacts, 'store' | 'bring'> & Partial<Pick<Artifacts, 'origin'>> & { volume: Copies };
  /** Returns the files on the volume that are to have these bytes. */
  files(digest: Digest): AsyncIterable<File> | Iterable<File>;
  /** Brings a file up to date after its blob was restored or moved aside. */
  check(file: File): Promise<void>;
  /** Whether the store's bytes are read, too, if the volume has copies of them. If not, that a blob is there is enough. */
  readStore: boolean;
  /** Bytes that are read in a second. */
  rate?: number;
  /** Ends the reading of large files. */
  stop: AbortSignal;
}

/**
 * Reads a blob again. If it is damaged on the volume, it is moved aside, together with the hard links to it in the folders of
 * versions. It is restored from an intact copy: on the volume, in the store, or in a folder. A damaged blob in a store that is
 * elsewhere stays there until there is one.
 */
export async function scrubBlob<File extends VersionFile>(
  digest: Digest,
  options: RepairOptions<File>,
): Promise<ScrubResult> {
  const { volume } = options.artifacts;
  const copy = await confirmed(volume, digest, options);
  const stored = await inStore(digest, copy, options);
  if (stored === 'intact' && copy !== 'damaged') return 'intact';
  if (stored === 'missing' && copy !== 'damaged' && (await isElsewhere(digest, options))) return 'intact';
  if (copy === 'intact') {
    await restore(digest, stored, options);
    return 'restored';
  }
  if (copy === 'damaged') await volume.setAside(digest);
  // Also after a crash in the middle of this.
  const damaged = await volume.asideOf(digest);
  let isRestored = await isBrought(digest, stored, options);
  for await (const file of options.files(digest)) {
    isRestored = (await isTaken(file, digest, damaged, stored, options, isRestored)) || isRestored;
  }
  for await (const file of options.files(digest)) {
    const isThere = (await lstat(file.folder).catch(ifMissing(null))) !== null;
    if (isThere || !isRestored) await options.check(file);
  }
  if (isRestored) return 'restored';
  return copy === 'damaged' || stored === 'damaged' ? 'lost' : 'missing';
}

/** Copies the blob again from a store that is elsewhere, or from where versions refer to it; returns whether it is there. */
async function isBrought(
  digest: Digest,
  stored: BlobState,
  { artifacts, stop }: Pick<RepairOptions, 'artifacts' | 'stop'>,
): Promise<boolean> {
  const isStored = artifacts.store !== artifacts.volume && stored !== 'missing';
  // A damaged blob in a store is no source, and hides one.
  const isThere = isStored ? stored === 'intact' : await isElsewhere(digest, { artifacts, stop });
  if (isThere) await artifacts.bring(digest, stop);
  return isThere;
}

/** Whether a blob that is not in the store is where versions refer to it. */
async function isElsewhere(
  digest: Digest,
  { artifacts: { store, origin = store }, stop }: Pick<RepairOptions, 'artifacts' | 'stop'>,
): Promise<boolean> {
  return origin !== store && (await origin.stat(digest, stop)) !== null;
}

async function inStore(
  digest: Digest,
  copy: BlobState,
  { readStore, artifacts, ...options }: Pick<RepairOptions, 'readStore' | 'artifacts' | 'rate' | 'stop'>,
): Promise<BlobState> {
  const { store, volume } = artifacts;
  if (store === volume) return copy;
  if (readStore) return confirmed(store, digest, options);
  return (await store.stat(digest, options.stop)) === null ? 'missing' : 'intact';
}

/** Reads a blob that seems damaged a second time: the first time, the memory may have been at fault. */
async function confirmed(
  store: Pick<ArtifactStore, 'get'>,
  digest: Digest,
  { stop, rate }: Pick<RepairOptions, 'stop' | 'rate'>,
): Promise<BlobState> {
  const state = await inspectBlob(store, digest, stop, rate);
  return state === 'damaged' ? inspectBlob(store, digest, stop, rate) : state;
}

/** Puts the copy into the store. */
async function restore(
  digest: Digest,
  stored: BlobState,
  { artifacts, stop, rate }: Pick<RepairOptions, 'artifacts' | 'stop' | 'rate'>,
): Promise<void> {
  const { store, volume } = artifacts;
  // Opened and marked as used first: it may be evicted, and it is the only intact copy.
  const bytes = await volume.get(digest);
  try {
    await volume.touch(digest);
    const size = (await volume.stat(digest))?.size;
    // A `put` would keep the damaged blob.
    if (stored === 'damaged') await store.delete(digest, stop);
    await store.put(digest, slowly(bytes, stop, rate), size, stop);
  } finally {
    bytes.destroy();
  }
}

/** Removes a file if it is the damaged blob itself; otherwise puts its bytes into the store, if they are right. */
async function isTaken(
  { path, size }: VersionFile,
  digest: Digest,
  damaged: FileId | null,
  stored: BlobState,
  options: Pick<RepairOptions, 'volume' | 'artifacts' | 'stop' | 'rate'>,
  isRestored: boolean,
): Promise<boolean> {
  if (await obstacleTo(options.volume, dirname(path))) return false; // it is elsewhere
  const file = await lstat(path).catch(ifMissing(null));
  if (!file?.isFile()) return false;
  if (damaged && file.ino === damaged.ino && file.dev === damaged.dev) {
    await rm(path, { force: true });
    return false;
  }
  if (isRestored || file.size !== size) return false;
  const { artifacts, stop, rate } = options;
  const { volume, store } = artifacts;
  const bytes = () => slowly(bytesIn(path), stop, rate);
  try {
    if (stored === 'damaged' && store !== volume) {
      for await (const _ of verified(bytes(), digest, size)); // deleted only for right bytes
      await store.delete(digest, stop);
    }
    await store.put(digest, bytes(), size, stop);
    return true;
  } catch (error) {
    if (stateShownBy(error) === null) throw error;
    return false;
  }
}
