import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { type Digest, isDigest } from '../../domain/digest.ts';
import { Problem } from '../../domain/errors.ts';
import { openTasks } from '../../structures/tasks.ts';
import { unavailable } from '../failure.ts';
import { partsOf } from '../parts.ts';
import type { Addressable, ArtifactStore, BlobStat, Owned, Unfinished } from '../store.ts';
import { verified } from '../verify.ts';
import { BLOBS, type Bucket, keyOf, OWNER_KEY, type PartUpload } from './bucket.ts';
import { resumed } from './resumed.ts';

export type ObjectStore = ArtifactStore & Owned & Partial<Addressable & Unfinished> & { close(): Promise<void> };

const MIB = 1024 * 1024;
/** All parts but the last of an S3 upload have at least 5 MiB, and on R2 the same size. */
const PART_BYTES = 8 * MIB;
/** A storage may copy an object in order to renew it, part by part. */
const COPIED_BYTES = 16 * 1024 * MIB;

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
        for await (const _ of checked) signal?.throwIfAborted();
        const limit = patience.part * Math.ceil((size + 1) / COPIED_BYTES);
        await within(limit, signal, (limited) => bucket.renew(keyOf(digest), limited));
      } else await send(digest, checked, size, signal);
      return stored(digest, size, signal);
    },

    async get(digest, range, signal) {
      const stopped = new AbortController();
      const either = signal ? AbortSignal.any([signal, stopped.signal]) : stopped.signal;
      const bytes = await resumed(bucket, keyOf(digest), range ?? null, patience.idle, either);
      if (!bytes) throw new Problem('unknown-blob', `There is no blob ${digest}.`, { digest });
      return readableOf(bytes, stopped);
    },

    async stat(digest, signal) {
      const found = await within(patience.answer, signal, (limited) => bucket.stat(keyOf(digest), limited));
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
        signal?.throwIfAborted();
        throw unavailable(bucket.name, error);
      }
    },

    async delete(digest, signal) {
      await within(patience.answer, signal, (limited) => bucket.delete(keyOf(digest), limited));
    },

    async owner() {
      return within(patience.answer, undefined, async (limited) => {
        const found = await resumed(bucket, OWNER_KEY, null, patience.idle, limited);
        if (!found) return null;
        const chunks: Uint8Array[] = [];
        for await (const chunk of found) chunks.push(chunk);
        return Buffer.concat(chunks).toString('utf8').trim();
      });
    },

    async own(log) {
      const bytes = Buffer.from(`${log}\n`);
      const sha256 = createHash('sha256').update(bytes).digest();
      await within(patience.answer, undefined, (limited) => bucket.put(OWNER_KEY, bytes, sha256, limited));
    },

    close: async () => bucket.close?.(),
  };
  const { addressOf, sweepUploads } = bucket;
  if (addressOf) {
    store.addressOf = (digest, seconds) => within(patience.answer, undefined, () => addressOf(keyOf(digest), seconds));
  }
  if (sweepUploads) {
    // No time limit: there may be many.
    store.sweepUploads = (before, signal) => within(null, signal, (limited) => sweepUploads(before, limited));
  }
  return store;

  async function send(digest: Digest, bytes: AsyncIterable<Uint8Array>, size?: number, signal?: AbortSignal) {
    const key = keyOf(digest);
    const stopped = new AbortController();
    const either = signal ? AbortSignal.any([signal, stopped.signal]) : stopped.signal;
    const sending = openTasks(limits.parallel);
    let upload: PartUpload | null = null;
    try {
      for await (const { number, bytes: part, sha256, isLast, release } of partsOf(bytes, partSizeOf(size))) {
        if (number > limits.parts) throw tooLarge();
        if (number === 1 && isLast) {
          return await within(patience.part, signal, (limited) => bucket.put(key, part, sha256, limited));
        }
        upload ??= await within(patience.answer, signal, (limited) => bucket.begin(key, limited));
        const { send: sendPart } = upload;
        await sending.start(async () => {
          await within(patience.part, either, (limited) => sendPart(number, part, sha256, limited));
          release();
        });
      }
      await sending.end();
      await within(patience.part, signal, (limited) => upload!.complete(limited));
    } catch (error) {
      stopped.abort();
      await sending.end().catch(() => {}); // the first error is the one that is thrown
      await upload?.abort(AbortSignal.timeout(patience.answer));
      throw error;
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

  /** Runs an operation of the bucket that ends after `ms`, if given, or when `signal` is aborted. Converts its errors. */
  async function within<T>(
    ms: number | null,
    signal: AbortSignal | undefined,
    operation: (limited: AbortSignal) => Promise<T>,
  ): Promise<T> {
    signal?.throwIfAborted();
    const limit = new AbortController();
    const timer = ms === null ? undefined : setTimeout(() => limit.abort(), ms);
    try {
      return await operation(signal ? AbortSignal.any([signal, limit.signal]) : limit.signal);
    } catch (error) {
      signal?.throwIfAborted();
      if (!limit.signal.aborted) throw unavailable(bucket.name, error);
      const detail = `The artifact store ${bucket.name} did not answer within ${ms} ms.`;
      throw new Problem('store-unavailable', detail, {}, error);
    } finally {
      clearTimeout(timer);
    }
  }
}

/** Unlike `Readable.from`, does not wait for the next bytes of the storage when the reader leaves, but stops them. */
function readableOf(bytes: AsyncGenerator<Uint8Array>, stopped: AbortController): Readable {
  return new Readable({
    highWaterMark: 256 * 1024,
    read() {
      const push = ({ value, done }: IteratorResult<Uint8Array>) => void this.push(done ? null : value);
      bytes.next().then(push, (error: Error) => void this.destroy(error));
    },
    destroy(error, callback) {
      stopped.abort();
      const end = () => callback(error);
      bytes.return(undefined).then(end, end);
    },
  });
}
