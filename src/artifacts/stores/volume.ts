import { randomUUID } from 'node:crypto';
import type { Stats } from 'node:fs';
import { chmod, mkdir, open, opendir, readdir, rename, rm, stat, utimes } from 'node:fs/promises';
import { devNull } from 'node:os';
import { basename, join } from 'node:path';
import { type Digest, isDigest } from '../../domain/digest.ts';
import { Problem } from '../../domain/errors.ts';
import { ifMissing, isErrno } from '../../files/errno.ts';
import { moveUnlessExists } from '../../files/place.ts';
import { syncFile, syncFolder } from '../../files/sync.ts';
import { bytesIn } from '../bytes-in.ts';
import { asVolumeFull, checkedOften, checkReserve, DISK_RESERVE_BYTES } from '../reserve.ts';
import type { ArtifactStore, BlobStat, Located } from '../store.ts';
import { checkDigest, sized, verified } from '../verify.ts';
import { batches, type Fill, fillWith, inTurn, writeDurably } from '../write.ts';
import type { Writer } from '../writer.ts';

/** A store in a local folder. Other folders of the file system may have hard links to its blobs. */
export interface VolumeStore extends ArtifactStore, Located {
  /** As `put`, through a new file at `path`, on the same file system. After an error, the file has what arrived. */
  putThrough(
    path: string,
    digest: Digest,
    bytes: AsyncIterable<Uint8Array>,
    size?: number,
    signal?: AbortSignal,
  ): Promise<BlobStat>;
  /** Verifies a file and moves it into the store. After an error, it is where it was. @throws {Problem} checksum-mismatch */
  adopt(path: string, digest: Digest): Promise<BlobStat>;
  /** Renews a blob's `stored_at`; returns whether it exists. */
  touch(digest: Digest): Promise<boolean>;
  /** Moves a damaged blob to `blobs/damaged/`, so that nobody gets it and the same bytes can be put again. */
  setAside(digest: Digest): Promise<void>;
  /** Returns which file was moved there, since folders may have hard links to it; null if none was. */
  asideOf(digest: Digest): Promise<FileId | null>;
}

/** Names a file of the file system, whatever its paths are. */
export type FileId = Pick<Stats, 'dev' | 'ino'>;

/** A smaller body is hashed at once: handing it to a thread would take longer. */
const SMALL_BYTES = 256 * 1024;
const UNFINISHED = 'upload-';

/**
 * Opens the store in `<volume>/blobs`, and deletes unfinished uploads: those without a write for `abandonedMs`. The default
 * of 0 deletes all, and is only for a folder that no other process uses. With a `writer`, large bodies are hashed and
 * written on its thread.
 */
export async function openVolumeStore(
  volume: string,
  reserve = DISK_RESERVE_BYTES,
  abandonedMs = 0,
  writer?: Writer,
): Promise<VolumeStore> {
  const uploads = join(volume, 'blobs');
  const folder = join(uploads, 'sha256');
  await mkdir(folder, { recursive: true });
  for (const name of await readdir(uploads)) {
    if (!name.startsWith(UNFINISHED)) continue;
    const path = join(uploads, name);
    const written = (await statBlob(path))?.stored_at ?? 0;
    if (abandonedMs === 0 || written < Date.now() - abandonedMs) await rm(path, { force: true });
  }
  const damaged = join(uploads, 'damaged');
  const pathOf = (digest: Digest) => join(folder, digest.slice('sha256:'.length));

  return {
    pathOf,

    async put(digest, bytes, size, signal) {
      const unfinished = join(uploads, UNFINISHED + randomUUID());
      try {
        return await putThrough(unfinished, digest, bytes, size, signal);
      } catch (error) {
        await rm(unfinished, { force: true });
        throw error;
      }
    },

    putThrough,

    async adopt(path, digest) {
      const { size } = await stat(path);
      const nowhere = await open(devNull, 'w');
      try {
        await verifying(bytesIn(path), digest, size)(nowhere, async () => {});
      } finally {
        await nowhere.close();
      }
      await chmod(path, 0o444);
      await renewed(path);
      await syncFile(path);
      return place(path, digest, !(await renewed(pathOf(digest))));
    },

    async get(digest, range, signal) {
      try {
        const file = await open(pathOf(digest));
        return file.createReadStream({ ...range, signal, highWaterMark: 256 * 1024 });
      } catch (error) {
        if (!isErrno(error, 'ENOENT')) throw error;
        throw new Problem('unknown-blob', `There is no blob ${digest}.`, { digest }, error);
      }
    },

    stat: (digest) => statBlob(pathOf(digest)),

    async *list(signal) {
      for await (const { name } of await opendir(folder)) {
        signal?.throwIfAborted();
        const digest = `sha256:${name}`;
        const found = isDigest(digest) && (await statBlob(pathOf(digest)));
        if (found) yield { digest, ...found };
      }
    },

    touch: (digest) => renewed(pathOf(digest)),

    async setAside(digest) {
      await mkdir(damaged, { recursive: true });
      await rename(pathOf(digest), join(damaged, basename(pathOf(digest)))).catch(ifMissing(null));
      await syncFolder(folder);
    },

    async asideOf(digest) {
      const found = await stat(join(damaged, basename(pathOf(digest)))).catch(ifMissing(null));
      return found && { dev: found.dev, ino: found.ino };
    },

    async delete(digest) {
      await rm(pathOf(digest), { force: true });
    },
  };

  async function putThrough(
    path: string,
    digest: Digest,
    bytes: AsyncIterable<Uint8Array>,
    size?: number,
    signal?: AbortSignal,
  ): Promise<BlobStat> {
    await checkReserve(folder, reserve, size ?? 0);
    try {
      // The bytes are always written and verified, so that wrong bytes take equally long whether the blob exists or not.
      const checked = checkedOften(stoppable(bytes, signal), () => checkReserve(folder, reserve, 0));
      const fill = verifying(checked, digest, size);
      const isNew = await writeDurably(path, fill, { needed: async () => !(await renewed(pathOf(digest))) });
      return await place(path, digest, isNew);
    } catch (error) {
      throw asVolumeFull(error);
    }
  }

  /** Makes a verified file the blob, or deletes it if the blob exists. */
  async function place(path: string, digest: Digest, isNew: boolean): Promise<BlobStat> {
    if (isNew) {
      await moveUnlessExists(path, pathOf(digest));
      await syncFolder(folder);
    } else await rm(path);
    return (await statBlob(pathOf(digest)))!;
  }

  /** Writes the bytes, and throws at their end if they are not the right ones. */
  function verifying(bytes: AsyncIterable<Uint8Array>, digest: Digest, size?: number): Fill {
    const isSmall = size !== undefined && size <= SMALL_BYTES;
    if (!writer || isSmall) return fillWith(verified(batches(bytes, inTurn(size)), digest, size));
    return async (file, wrote) => checkDigest(await writer.write(file, sized(bytes, digest, size), wrote), digest);
  }
}

/** Renews `stored_at` and returns true if the blob exists. Keeps the file, because versions' folders link to it. */
async function renewed(path: string): Promise<boolean> {
  const now = new Date();
  const touched = utimes(path, now, now).then(() => true);
  return touched.catch(ifMissing(false));
}

async function statBlob(path: string): Promise<BlobStat | null> {
  const found = await stat(path).catch(ifMissing(null));
  return found && { size: found.size, stored_at: found.mtimeMs };
}

async function* stoppable(bytes: AsyncIterable<Uint8Array>, signal?: AbortSignal) {
  for await (const chunk of bytes) {
    signal?.throwIfAborted();
    yield chunk;
  }
}
