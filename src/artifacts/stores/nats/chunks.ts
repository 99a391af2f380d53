import { createHash } from 'node:crypto';
import { headers, nuid } from '@nats-io/transport-node';
import { Problem } from '../../../domain/errors.ts';
import { abortable } from '../../../structures/abortable.ts';
import { BUCKET, chunksOf, fullOr, KEY, OBJECTS, type ObjectStream, OFFSET } from './stream.ts';

/** The chunks of one upload, which belong to no object yet. */
export interface Chunks {
  /** Appends bytes. They may still be used after an error, until `discard` ends. */
  write(bytes: Buffer, signal?: AbortSignal): Promise<void>;
  /** Ends the upload. Returns what the object's description says about its chunks. */
  describe(): { bucket: string; nuid: string; size: number; chunks: number; digest: string; options: object };
  /** Purges the chunks. Does not throw: what is left is swept later. */
  discard(signal?: AbortSignal): Promise<void>;
}

/** How many chunks wait for their acknowledgement at once. */
const IN_FLIGHT = 4;
const NEVER = new AbortController().signal;

export function beginChunks(stream: ObjectStream, key: string): Chunks {
  const { js, chunkBytes, maxObjectBytes, name, timeoutMs } = stream;
  const id = nuid.next();
  const hash = createHash('sha256');
  const unacknowledged: Promise<number>[] = [];
  let size = 0;
  let chunks = 0;
  let last = 0;

  return {
    async write(bytes, signal = NEVER) {
      // A size that was not announced is known only now.
      if (size + bytes.length > maxObjectBytes) throw tooLarge();
      for (let start = 0; start < bytes.length; start += chunkBytes) {
        if (unacknowledged.length === IN_FLIGHT) await acknowledged(signal);
        signal.throwIfAborted();
        unacknowledged.push(publish(bytes.subarray(start, start + chunkBytes)));
      }
      while (unacknowledged.length > 0) await acknowledged(signal);
    },

    describe() {
      const digest = `SHA-256=${hash.digest('base64').replaceAll('+', '-').replaceAll('/', '_')}`;
      return { bucket: BUCKET, nuid: id, size, chunks, digest, options: { max_chunk_size: chunkBytes } };
    },

    async discard(signal = NEVER) {
      try {
        // Otherwise a chunk could be stored after the purge.
        await abortable(Promise.allSettled(unacknowledged), signal);
        await abortable(purgeChunks(stream, id), signal);
      } catch {}
    },
  };

  function publish(chunk: Buffer): Promise<number> {
    const place = headers();
    place.set(OFFSET, String(size));
    place.set(KEY, key);
    hash.update(chunk);
    size += chunk.length;
    chunks++;
    const stored = js.publish(chunksOf(id), chunk, { headers: place, timeout: timeoutMs }).then(({ seq }) => seq);
    // Handled when its turn comes; an earlier one may fail first.
    stored.catch(() => {});
    return stored;
  }

  async function acknowledged(signal: AbortSignal): Promise<void> {
    try {
      const revision = await abortable(unacknowledged[0]!, signal);
      // Chunks have no other order than the stream's.
      if (revision <= last) throw new Error('the server stored the chunks in another order');
      last = revision;
    } catch (error) {
      throw fullOr(error, name);
    }
    unacknowledged.shift();
  }

  function tooLarge(): Problem {
    return new Problem('too-large', `${name} takes at most ${maxObjectBytes} bytes for a file.`);
  }
}

export async function purgeChunks({ jsm }: ObjectStream, nuid: string): Promise<void> {
  await jsm.streams.purge(OBJECTS, { filter: chunksOf(nuid) });
}
