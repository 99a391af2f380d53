import { mkdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ifMissing } from '../../files/errno.ts';
import { replaceFile } from '../../files/replace.ts';
import { unavailable } from '../failure.ts';
import { DISK_RESERVE_BYTES } from '../reserve.ts';
import type { Owned } from '../store.ts';
import type { Writer } from '../writer.ts';
import { openVolumeStore, type VolumeStore } from './volume.ts';

/** Uploads of other processes that use the folder are left alone for this long. */
const ABANDONED_MS = 24 * 3600_000;

/** Opens a store in a folder that is not the volume of this process, such as one that is mounted from another machine. */
export async function openFolderStore(folder: string, writer?: Writer): Promise<VolumeStore & Owned> {
  const store = await openVolumeStore(folder, DISK_RESERVE_BYTES, ABANDONED_MS, writer);
  const own = join(folder, '.signalbox');

  return {
    ...store,
    async put(digest, bytes, size, signal) {
      const source = watched(bytes);
      try {
        return await store.put(digest, source.bytes, size, signal);
      } catch (error) {
        signal?.throwIfAborted();
        return source.failed() ? Promise.reject(error) : fail(error);
      }
    },
    get: (...blob) => store.get(...blob).catch(fail),
    async stat(digest) {
      const found = await store.stat(digest).catch(fail);
      // A folder that is not mounted has no blobs either.
      if (found === null) await stat(join(folder, 'blobs/sha256')).catch(fail);
      return found;
    },
    owner: async () => (await readFile(join(own, 'owner'), 'utf8').catch(ifMissing(null)))?.trim() ?? null,
    async own(log) {
      await mkdir(own, { recursive: true });
      await replaceFile(join(own, 'owner'), `${log}\n`, 0o644);
    },
  };

  function fail(error: unknown): never {
    throw unavailable(`file:${folder}`, error);
  }
}

/** Tells whether an error came from the sender, and not from the store. */
function watched(bytes: AsyncIterable<Uint8Array>): { bytes: AsyncIterable<Uint8Array>; failed(): boolean } {
  let failed = false;
  async function* watching() {
    try {
      yield* bytes;
    } catch (error) {
      failed = true;
      throw error;
    }
  }
  return { bytes: watching(), failed: () => failed };
}
