import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { JetStreamApiError } from '@nats-io/jetstream';
import { headers, nuid } from '@nats-io/transport-node';
import { Problem } from '../../../domain/errors.ts';
import type { PartUpload } from '../bucket.ts';
import { type Meta, readMeta, type StoredMeta, writeMeta } from './meta.ts';
import { BUCKET, chunksOf, fullOr, OBJECTS, type ObjectStream, OFFSET } from './stream.ts';

/** How many chunks wait for their acknowledgement at once. */
const IN_FLIGHT = 4;
const ATTEMPTS = 20;

/**
 * Begins an object: chunks first, then the description that makes them visible. The client's own `put` is not used. It waits
 * for each chunk, and if the description's acknowledgement is lost, it purges the chunks of an object that may be visible.
 *
 * @param signal stops the sending of chunks
 */
export function beginUpload(stream: ObjectStream, key: string, signal?: AbortSignal): PartUpload {
  const { js, jsm, chunkBytes, maxObjectBytes, timeoutMs } = stream;
  const id = nuid.next();
  const hash = createHash('sha256');
  let size = 0;
  let chunks = 0;
  let last = 0;
  let mayBeVisible = false;

  return {
    async send(_, bytes) {
      // A size that was not announced is known only now.
      if (size + bytes.length > maxObjectBytes) throw tooLarge(stream);
      const acks: Promise<number>[] = [];
      try {
        for (let start = 0; start < bytes.length; start += chunkBytes) {
          signal?.throwIfAborted();
          if (acks.length === IN_FLIGHT) inOrder(await acks.shift()!);
          acks.push(publish(bytes.subarray(start, start + chunkBytes)));
        }
        while (acks.length > 0) inOrder(await acks.shift()!);
      } catch (error) {
        // Otherwise a chunk could be stored after the purge.
        await Promise.allSettled(acks);
        throw fullOr(error, stream.name);
      }
    },

    async complete() {
      const digest = `SHA-256=${hash.digest('base64').replaceAll('+', '-').replaceAll('/', '_')}`;
      const options = { max_chunk_size: chunkBytes };
      const meta = { name: key, bucket: BUCKET, nuid: id, size, chunks, digest, deleted: false, options };
      for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
        const existing = await readMeta(stream, key);
        if (await replaced(existing, meta)) return;
        // Without a pause, many clients that store the same object would get in each other's way.
        await sleep(Math.random() * 50 * (attempt + 1));
      }
      throw new Error(`other clients kept changing ${key}`);
    },

    async abort() {
      if (!mayBeVisible) await purge(id);
    },
  };

  function publish(chunk: Buffer): Promise<number> {
    const offset = headers();
    offset.set(OFFSET, String(size));
    hash.update(chunk);
    size += chunk.length;
    chunks++;
    const acknowledged = js
      .publish(chunksOf(id), chunk, { headers: offset, timeout: timeoutMs })
      .then(({ seq }) => seq);
    // Handled when its turn comes; an earlier one may fail first.
    acknowledged.catch(() => {});
    return acknowledged;
  }

  /** Chunks have no other order than the stream's. */
  function inOrder(revision: number): void {
    if (revision <= last) throw new Error('the server stored the chunks in another order');
    last = revision;
  }

  /** Returns false if another client changed the object meanwhile. */
  async function replaced(existing: StoredMeta | null, meta: Meta): Promise<boolean> {
    if (existing && isSame(existing.meta, meta)) {
      // Whoever reads the object now goes on reading its chunks.
      if (!(await writeMeta(stream, existing.meta, existing.revision))) return false;
      await purge(id);
      return true;
    }
    if (!(await publishMeta(meta, existing?.revision ?? 0))) return false;
    if (existing) await purge(existing.meta.nuid);
    return true;
  }

  async function publishMeta(meta: Meta, expected: number): Promise<boolean> {
    mayBeVisible = true;
    try {
      const stored = await writeMeta(stream, meta, expected);
      mayBeVisible = stored;
      return stored;
    } catch (error) {
      // Only the server's refusal tells that it is not stored.
      mayBeVisible = !(error instanceof Problem || error instanceof JetStreamApiError);
      throw error;
    }
  }

  /** What cannot be purged now is swept later. */
  async function purge(nuid: string): Promise<void> {
    await jsm.streams.purge(OBJECTS, { filter: chunksOf(nuid) }).catch(() => {});
  }
}

function isSame(a: Meta, b: Meta): boolean {
  return !a.deleted && a.size === b.size && a.digest === b.digest;
}

function tooLarge({ name, maxObjectBytes }: ObjectStream): Problem {
  return new Problem('too-large', `${name} takes at most ${maxObjectBytes} bytes for a file.`);
}
