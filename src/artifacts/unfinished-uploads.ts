import { randomUUID } from 'node:crypto';
import { chmod, type FileHandle, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type Digest, sha256Hex } from '../domain/digest.ts';
import { Problem, type ProblemCode } from '../domain/errors.ts';
import { ifMissing } from '../files/errno.ts';
import type { Artifacts } from './artifacts.ts';
import { bytesIn } from './bytes-in.ts';
import { IncompleteBytes } from './incomplete.ts';
import { asVolumeFull, checkedOften, checkReserve, DISK_RESERVE_BYTES } from './reserve.ts';
import type { BlobStat } from './store.ts';
import { CALLER_LENGTH, checkUse, LIMITS, type UploadLimits } from './upload-limits.ts';
import { createUploadTurns } from './upload-turns.ts';
import { batches, fillWith, inTurn, writeDurably } from './write.ts';

/** What arrives of an upload in one request. */
export interface Sending {
  bytes: AsyncIterable<Uint8Array>;
  /** The announced number of bytes. */
  size: number | undefined;
  /** Ends the request, unless all of it has arrived. `bytes` then throws {IncompleteBytes}. */
  end(): void;
}

/**
 * Uploads that ended early, kept on this server's volume for their callers. A newer request ends the requests that still
 * send the same upload: usually they are half-open connections of the same caller.
 */
export interface UnfinishedUploads {
  /** As the store's `put`. If the body ends early, or the store becomes unavailable, what arrived is kept. */
  put(caller: string, digest: Digest, sending: Sending): Promise<BlobStat>;
  /** Returns how many bytes of an upload are here. */
  offset(caller: string, digest: Digest): Promise<number>;
  /**
   * Appends bytes. After the last ones, stores the blob.
   *
   * @returns null if more bytes follow
   * @throws {Problem} mismatching-upload-offset, too-many-uploads; as the store's `put`. After checksum-mismatch, volume-full
   *   and too-many-uploads in the middle, nothing of the upload is kept.
   */
  append(caller: string, digest: Digest, part: Part): Promise<BlobStat | null>;
  /** Deletes the uploads that got no byte since `before`, in ms since 1970; returns how many. */
  sweep(before: number): Promise<number>;
}

export interface Part {
  /** Where the bytes begin. */
  offset: number;
  sending: Sending;
  isLast: boolean;
}

/** How long an upload is kept after its last byte. */
export const KEPT_MS = 24 * 3600_000;
/** Less is not kept: sending it again is as cheap as asking for it. */
const MIN_KEPT_BYTES = 1024 * 1024;
/** At most this much of what arrived is lost when an upload ends early. */
const BATCH_BYTES = 256 * 1024;
const DROPPED_AFTER: readonly ProblemCode[] = ['checksum-mismatch', 'volume-full', 'too-many-uploads'];

/**
 * Opens the unfinished uploads in `<volume>/blobs/unfinished`: a file for each caller and digest, and one with a suffix for
 * each running `put`. Those of a server that was killed go on. Only for a folder that no other process uses.
 */
export async function openUnfinishedUploads(
  volume: string,
  { store, volume: files }: Pick<Artifacts, 'store' | 'volume'>,
  limits: UploadLimits = LIMITS,
  reserve = DISK_RESERVE_BYTES,
): Promise<UnfinishedUploads> {
  const folder = join(volume, 'blobs', 'unfinished');
  const turns = createUploadTurns();
  const isVolume = store === files;
  await mkdir(folder, { recursive: true });
  for (const running of (await readdir(folder)).filter(isRunning)) await keepOrDelete(running);
  await sweep(Date.now() - KEPT_MS);

  return {
    async put(caller, digest, sending) {
      const { bytes, size } = sending;
      if (size !== undefined && size < MIN_KEPT_BYTES) return store.put(digest, bytes, size);
      const name = nameOf(caller, digest);
      return turns.beside(name, sending.end, () => putAndKeep(name, digest, sending));
    },

    offset(caller, digest) {
      const name = nameOf(caller, digest);
      const nothing = () => {};
      return turns.next(name, nothing, () => sizeOf(name));
    },

    append(caller, digest, { offset, sending, isLast }) {
      const name = nameOf(caller, digest);
      return turns.next(name, sending.end, async () => {
        const here = await sizeOf(name);
        if (offset !== here) throw mismatch(digest, here, offset);
        await check(name, sending.size ?? 0);
        try {
          await write(name, sending.bytes);
          return isLast ? await finish(name, digest) : null;
        } catch (error) {
          const cause = asVolumeFull(error);
          if (cause instanceof Problem && DROPPED_AFTER.includes(cause.code)) await rm(pathOf(name), { force: true });
          throw cause;
        }
      });
    },

    sweep,
  };

  async function putAndKeep(name: string, digest: Digest, { bytes, size }: Sending): Promise<BlobStat> {
    const running = `${name}.${randomUUID()}`;
    try {
      const put = isVolume ? files.putThrough : putBeside;
      const stored = await put(pathOf(running), digest, bytes, size);
      // Waits for nothing: another request that goes on with this upload ends by itself.
      if (turns.isOnly(name)) await turns.queue(name, () => rm(pathOf(name), { force: true }));
      return stored;
    } catch (error) {
      if (isKeptAfter(error)) await turns.queue(name, () => keepOrDelete(running));
      throw error;
    } finally {
      await rm(pathOf(running), { force: true });
    }
  }

  /** For a store elsewhere: puts the bytes into it, and writes them to a file, too. */
  async function putBeside(path: string, digest: Digest, bytes: AsyncIterable<Uint8Array>, size?: number) {
    const file = await open(path, 'wx', 0o600);
    try {
      return await store.put(digest, copied(bytes, file), size);
    } finally {
      await file.close();
    }
  }

  /** A disk without space ends the copy, not the upload. */
  async function* copied(bytes: AsyncIterable<Uint8Array>, file: FileHandle): AsyncGenerator<Uint8Array> {
    let isCopied = true;
    const stop = async () => {
      isCopied = false;
      await file.truncate(0).catch(() => {}); // Without it, the file is still the beginning of the bytes.
    };
    for await (const chunk of checkedOften(bytes, () => checkReserve(folder, reserve, 0).catch(stop))) {
      if (isCopied) await file.appendFile(chunk).catch(stop);
      yield chunk;
    }
  }

  /** Makes what a `put` left the upload to go on with, unless there is a longer one or no room. Else deletes it. */
  async function keepOrDelete(running: string): Promise<void> {
    const name = running.slice(0, running.indexOf('.'));
    const [size, here] = [await sizeOf(running), await sizeOf(name)];
    const isKept = size >= MIN_KEPT_BYTES && size > here && (await hasRoom(name, size - here));
    if (!isKept) return rm(pathOf(running), { force: true });
    await chmod(pathOf(running), 0o600);
    await rename(pathOf(running), pathOf(name));
  }

  async function hasRoom(name: string, more: number): Promise<boolean> {
    try {
      await checkReserve(folder, reserve, 0); // The bytes are on the disk already.
      checkUse(await kept(), name, more, limits);
      return true;
    } catch (error) {
      if (error instanceof Problem) return false;
      throw error;
    }
  }

  async function check(name: string, more: number): Promise<void> {
    await checkReserve(folder, reserve, more);
    checkUse(await kept(), name, more, limits);
  }

  function write(name: string, bytes: AsyncIterable<Uint8Array>): Promise<boolean> {
    const checked = checkedOften(bytes, () => check(name, 0));
    return writeDurably(pathOf(name), fillWith(batches(checked, inTurn(BATCH_BYTES))), { append: true });
  }

  async function finish(name: string, digest: Digest): Promise<BlobStat> {
    const path = pathOf(name);
    if (isVolume) return files.adopt(path, digest);
    const stored = await store.put(digest, bytesIn(path), await sizeOf(name));
    await rm(path);
    return stored;
  }

  async function sweep(before: number): Promise<number> {
    let deleted = 0;
    for (const name of await readdir(folder)) {
      const found = await stat(pathOf(name)).catch(ifMissing(null));
      if (!found || found.mtimeMs >= before || turns.isBusy(name.slice(0, NAME_LENGTH))) continue;
      await rm(pathOf(name), { force: true });
      deleted++;
    }
    return deleted;
  }

  async function kept(): Promise<Map<string, number>> {
    const names = (await readdir(folder)).filter((name) => !isRunning(name));
    return new Map(await Promise.all(names.map(async (name) => [name, await sizeOf(name)] as const)));
  }

  async function sizeOf(name: string): Promise<number> {
    const found = await stat(pathOf(name)).catch(ifMissing(null));
    return found?.size ?? 0;
  }

  function pathOf(name: string): string {
    return join(folder, name);
  }
}

/** Names the upload of a caller; a caller's name may have any characters. */
function nameOf(caller: string, digest: Digest): string {
  return `${sha256Hex(caller).slice(0, CALLER_LENGTH)}-${digest.slice('sha256:'.length)}`;
}

const NAME_LENGTH = CALLER_LENGTH + 1 + 64;

function isKeptAfter(error: unknown): boolean {
  return error instanceof IncompleteBytes || (error instanceof Problem && error.code === 'store-unavailable');
}

/** Whether a file is written by a `put`. */
function isRunning(name: string): boolean {
  return name.includes('.');
}

function mismatch(digest: Digest, expected_offset: number, provided_offset: number): Problem {
  const detail = `${expected_offset} bytes of ${digest} are here: send the rest from there, not from ${provided_offset}.`;
  return new Problem('mismatching-upload-offset', detail, { digest, expected_offset, provided_offset });
}
