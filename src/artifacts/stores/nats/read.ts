import type { StoredMsg } from '@nats-io/jetstream';
import { abortable } from '../../../structures/abortable.ts';
import type { ByteRange } from '../../store.ts';
import type { OpenObject } from '../bucket.ts';
import type { StoredMeta } from './meta.ts';
import { chunksOf, OBJECTS, type ObjectStream, OFFSET } from './stream.ts';

/**
 * Opens an object or a part of it. One chunk is fetched ahead, so that a slow reader holds two. The client's own `get` has
 * no ranges, and the server sends it everything: 443 MiB waited for a slow reader of 1 GiB.
 */
export function openObject(
  stream: ObjectStream,
  { meta }: StoredMeta,
  range: ByteRange | null,
  signal: AbortSignal,
): OpenObject {
  const start = range?.start ?? 0;
  const end = Math.min(range?.end ?? Infinity, meta.size - 1);
  return { length: Math.max(0, end - start + 1), bytes: bytes() };

  async function* bytes(): AsyncGenerator<Uint8Array> {
    let ahead: Promise<Chunk> | null = null;
    for (let position = start; position <= end; ) {
      const chunk: Chunk = await (ahead ?? seek(position));
      const next = chunk.offset + chunk.bytes.length;
      if (chunk.offset > position || next <= position) throw new Error(`the bytes from ${position} on are missing`);
      if (next <= end) {
        ahead = chunkFrom(chunk.revision + 1);
        // Handled in the next round; the reader may leave before.
        ahead.catch(() => {});
      }
      yield chunk.bytes.subarray(position - chunk.offset, end + 1 - chunk.offset);
      position = next;
    }
  }

  /** Finds the chunk that contains a position. Chunks of other uploads may lie in between, so it is never skipped. */
  async function seek(position: number): Promise<Chunk> {
    let chunk = await chunkFrom(1);
    while (chunk.offset + chunk.bytes.length <= position) {
      const between = Math.floor((position - chunk.offset) / stream.chunkBytes);
      chunk = await chunkFrom(chunk.revision + Math.max(1, between));
    }
    return chunk;
  }

  /** Reads the object's first chunk from a revision on. */
  async function chunkFrom(revision: number): Promise<Chunk> {
    const query = { seq: revision, next_by_subj: chunksOf(meta.nuid) };
    const { jsm } = stream;
    const anyReplica = await abortable(jsm.direct.getMessage(OBJECTS, query), signal);
    // A replica may lag behind.
    const found = anyReplica ?? (await abortable(jsm.streams.getMessage(OBJECTS, query), signal));
    if (!found) throw new Error('the object was deleted while it was read');
    return chunkOf(found);
  }
}

interface Chunk {
  revision: number;
  offset: number;
  bytes: Uint8Array;
}

function chunkOf({ seq, header, data }: StoredMsg): Chunk {
  return { revision: seq, offset: Number(header.get(OFFSET)), bytes: data };
}
