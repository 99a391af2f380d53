import { Readable } from 'node:stream';
import { type Digest, isDigest } from '../../domain/digest.ts';
import { Problem } from '../../domain/errors.ts';
import { unavailable } from '../failure.ts';
import { type Part, partsOf } from '../parts.ts';
import type { Addressable, ArtifactStore, BlobStat, Owned, Unfinished } from '../store.ts';
import { verified } from '../verify.ts';
import { BLOBS, type Bucket, keyOf, OWNER_KEY, type PartUpload } from './bucket.ts';
import { resumed } from './resumed.ts';

export type ObjectStore = ArtifactStore & Owned & Partial<Addressable & Unfinished> & { close(): Promise<void> };

const MIB = 1024 * 1024;
/** All parts but the last of an S3 upload have at least 5 MiB, and on R2 the same size. */
const PART_BYTES = 8 * MIB;

/** The longest times in ms that a store waits for an answer: a short one, one part sent, the next bytes of a download. */
export interface Patience {
  answer: number;
  part: number;
  idle: number;
}
const PATIENCE: Patience = { answer: 30_000, part: 300_000, idle: 30_000 };

/**
 * Makes a store of object storage. There are no temporary objects: an object of several parts is invisible until it is
 * completed, which is done only when its hash is the digest. So the rules are stated here once, and not in each bucket.
 */
export function createObjectStore(bucket: Bucket, patience = PATIENCE): ObjectStore {
  const { limits } = bucket;

  const store: ObjectStore = {
    async put(digest, bytes, size, signal) {
      if (size !== undefined && size > limits.size) throw tooLarge(size);
      const checked = verified(bytes, digest, size);
      if (size !== undefined && (await store.stat(digest, signal))?.size === size) {
        // Read to the end, so that wrong bytes take equally long whether the blob exists or not.
        for await (const _ of checked);
        await bucket.renew(keyOf(digest), within(patience.answer, signal)).catch(fail);
      } else await send(digest, checked, size, signal);
      return stored(digest, size, signal);
    },

    async get(digest, range, signal) {
      const stopped = new AbortController();
      const either = signal ? AbortSignal.any([signal, stopped.signal]) : stopped.signal;
      const bytes = await resumed(bucket, keyOf(digest), range ?? null, patience.idle, either).catch(fail);
      if (!bytes) throw new Problem('unknown-blob', `There is no blob ${digest}.`, { digest });
      const readable = Readable.from(bytes, { objectMode: false, highWaterMark: 256 * 1024 });
      // Otherwise a reader that leaves would wait for the next bytes of the storage.
      readable.once('close', () => stopped.abort());
      return readable;
    },

    async stat(digest, signal) {
      const found = await bucket.stat(keyOf(digest), within(patience.answer, signal)).catch(fail);
      return found && { size: found.size, stored_at: found.modified };
    },

    async *list(signal) {
      try {
        // No time limit: the consumer decides how long it takes.
        for await (const { key, size, modified } of bucket.list(BLOBS, signal ?? new AbortController().signal)) {
          const digest = `sha256:${key.slice(BLOBS.length)}`;
          if (isDigest(digest)) yield { digest, size, stored_at: modified };
        }
      } catch (error) {
        fail(error);
      }
    },

    async delete(digest, signal) {
      await bucket.delete(keyOf(digest), within(patience.answer, signal)).catch(fail);
    },

    async owner() {
      const found = await resumed(bucket, OWNER_KEY, null, patience.idle, within(patience.answer)).catch(fail);
      if (!found) return null;
      const chunks: Uint8Array[] = [];
      for await (const chunk of found) chunks.push(chunk);
      return Buffer.concat(chunks).toString('utf8').trim();
    },

    async own(log) {
      for await (const { bytes, sha256 } of partsOf(Readable.from([Buffer.from(`${log}\n`)]), MIB)) {
        await bucket.put(OWNER_KEY, bytes, sha256, within(patience.answer)).catch(fail);
      }
    },

    close: async () => bucket.close?.(),
  };
  const { addressOf, sweepUploads } = bucket;
  if (addressOf) store.addressOf = (digest, seconds) => addressOf(keyOf(digest), seconds).catch(fail);
  if (sweepUploads) {
    store.sweepUploads = (before, signal) => sweepUploads(before, signal ?? new AbortController().signal).catch(fail);
  }
  return store;

  async function send(digest: Digest, bytes: AsyncIterable<Uint8Array>, size?: number, signal?: AbortSignal) {
    const key = keyOf(digest);
    let upload: PartUpload | null = null;
    let failure: { error: unknown } | null = null;
    const sending = new Set<Promise<void>>();
    try {
      for await (const part of partsOf(bytes, partSizeOf(size))) {
        if (part.number > limits.parts) throw tooLarge();
        if (part.number === 1 && part.isLast) {
          return await bucket.put(key, part.bytes, part.sha256, within(patience.part, signal));
        }
        upload ??= await bucket.begin(key, within(patience.answer, signal));
        if (sending.size === limits.parallel) await Promise.race(sending);
        if (failure) throw (failure as { error: unknown }).error;
        begin(upload, part);
      }
      await Promise.all(sending);
      if (failure) throw (failure as { error: unknown }).error;
      await upload!.complete();
    } catch (error) {
      await Promise.allSettled(sending);
      await upload?.abort();
      signal?.throwIfAborted();
      throw error instanceof Problem ? error : fail(error);
    }

    function begin({ send }: PartUpload, { number, bytes, sha256, release }: Part): void {
      const sent: Promise<void> = send(number, bytes, sha256)
        .then(release, (error: unknown) => {
          failure ??= { error };
        })
        .finally(() => sending.delete(sent));
      sending.add(sent);
    }
  }

  /** Presence proves nothing: some storages keep cut objects. */
  async function stored(digest: Digest, size?: number, signal?: AbortSignal): Promise<BlobStat> {
    const found = await store.stat(digest, signal);
    if (found && (size === undefined || found.size === size)) return found;
    const detail = `The artifact store ${bucket.name} does not have ${digest} as it was sent. Send it again.`;
    throw new Problem('store-unavailable', detail, { digest, expected: size, actual: found?.size });
  }

  function partSizeOf(size = PART_BYTES): number {
    if (size < PART_BYTES) return Math.max(size, 1);
    return Math.max(PART_BYTES, Math.ceil(size / (limits.parts * 0.9)));
  }

  function tooLarge(size?: number): Problem {
    const most = `${bucket.name} takes at most ${limits.size} bytes for a file.`;
    return new Problem('too-large', most, size === undefined ? {} : { size });
  }

  function fail(error: unknown): never {
    throw unavailable(bucket.name, error);
  }
}

function within(ms: number, signal?: AbortSignal): AbortSignal {
  const limit = AbortSignal.timeout(ms);
  return signal ? AbortSignal.any([signal, limit]) : limit;
}
