import { createReadStream } from 'node:fs';
import { lstat, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Artifacts } from '../../artifacts/artifacts.ts';
import { type BlobState, inspectBlob, slowly, stateShownBy } from '../../artifacts/scrub.ts';
import type { FileId } from '../../artifacts/stores/volume.ts';
import type { Digest } from '../../domain/digest.ts';
import { ifMissing } from '../../files/errno.ts';
import type { ReadModel } from '../read-model/read-model.ts';
import { modelsWith } from '../read-model/references.ts';
import { obstacleTo, versionFolder } from './layout.ts';
import { versionsBefore } from './versions.ts';

/** What a scrub found and did: `lost` bytes were moved aside, and no version's folder has an intact copy. */
export const SCRUB_RESULTS = ['intact', 'restored', 'lost', 'missing'] as const;
export type ScrubResult = (typeof SCRUB_RESULTS)[number];

export interface RepairOptions {
  volume: string;
  artifacts: Pick<Artifacts, 'store' | 'volume' | 'bring'>;
  readModel: Pick<ReadModel, 'db' | 'model'>;
  /** Brings the folder of a published version up to date. */
  check(model: string, version: string): Promise<void>;
  /** Ends the reading of large files. */
  stop: AbortSignal;
}

const PAGE = 200;

/**
 * Reads a blob on the volume again. A damaged one is moved aside, together with the hard links to it in the folders of
 * versions, and restored from the store, or from an intact copy in a folder. If the volume has copies of a store, a blob that
 * the store lost is restored from its copy.
 */
export async function scrubBlob(digest: Digest, options: RepairOptions): Promise<ScrubResult> {
  const { store, volume, bring } = options.artifacts;
  const state = await confirmed(digest, options);
  const isStored = store === volume ? state === 'intact' : (await store.stat(digest, options.stop)) !== null;
  if (isStored && state !== 'damaged') return 'intact';
  if (state === 'intact') {
    await store.put(digest, slowly(await volume.get(digest), options.stop));
    return 'restored';
  }
  if (state === 'damaged') await volume.setAside(digest);
  // Also after a crash in the middle of this.
  const damaged = await volume.asideOf(digest);
  if (isStored) await bring(digest, options.stop);
  let isRestored = isStored;
  for await (const file of filesWith(digest, options)) {
    isRestored = (await isTaken(file, digest, damaged, options, isRestored)) || isRestored;
  }
  for await (const { model, version, folder } of filesWith(digest, options)) {
    const isThere = (await lstat(folder).catch(ifMissing(null))) !== null;
    if (isThere || !isRestored) await options.check(model, version);
  }
  return isRestored ? 'restored' : state === 'damaged' ? 'lost' : 'missing';
}

/** Reads a blob that seems damaged a second time: the first time, the memory may have been at fault. */
async function confirmed(digest: Digest, { artifacts, stop }: RepairOptions): Promise<BlobState> {
  const state = await inspectBlob(artifacts.volume, digest, stop);
  return state === 'damaged' ? inspectBlob(artifacts.volume, digest, stop) : state;
}

/** Removes a file if it is the damaged blob itself; otherwise puts its bytes into the store, if they are right. */
async function isTaken(
  { path, size }: VersionFile,
  digest: Digest,
  damaged: FileId | null,
  { volume, artifacts, stop }: RepairOptions,
  isRestored: boolean,
): Promise<boolean> {
  if (await obstacleTo(volume, dirname(path))) return false; // it is elsewhere
  const file = await lstat(path).catch(ifMissing(null));
  if (!file?.isFile()) return false;
  if (damaged && file.ino === damaged.ino && file.dev === damaged.dev) {
    await rm(path, { force: true });
    return false;
  }
  if (isRestored || file.size !== size) return false;
  try {
    await artifacts.store.put(digest, slowly(createReadStream(path), stop), size);
    return true;
  } catch (error) {
    if (stateShownBy(error) === null) throw error;
    return false;
  }
}

interface VersionFile {
  model: string;
  version: string;
  folder: string;
  path: string;
  size: number;
}

/** Yields the files on the volume that are to have these bytes, a page of versions at a time. */
async function* filesWith(digest: Digest, { volume, readModel }: RepairOptions): AsyncGenerator<VersionFile> {
  for (const model of modelsWith(readModel.db, digest)) {
    let page = versionsBefore(readModel.db, model, Number.MAX_SAFE_INTEGER, PAGE);
    while (page.length > 0) {
      for (const { version } of page) {
        const folder = versionFolder(volume, model, version);
        const artifacts = readModel.model(model).version(version)?.manifest.artifacts ?? [];
        for (const { path, size } of artifacts.filter((artifact) => artifact.digest === digest)) {
          yield { model, version, folder, path: join(folder, path), size };
        }
      }
      await new Promise(setImmediate); // other work of the event loop
      page = versionsBefore(readModel.db, model, page.at(-1)!.revision, PAGE);
    }
  }
}
