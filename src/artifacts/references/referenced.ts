import { Readable } from 'node:stream';
import type { Digest } from '../../domain/digest.ts';
import { Problem } from '../../domain/errors.ts';
import type { Reference } from '../../domain/reference.ts';
import type { Reads } from '../artifacts.ts';
import type { ByteRange } from '../store.ts';
import { verified } from '../verify.ts';
import { changed, checkObject, openObject } from './object.ts';
import type { Sources } from './sources.ts';

/**
 * Reads what is not in the store from the sources that versions refer to. An object that changed is never read: `stat` then
 * answers that the blob does not exist, and `get` says why.
 */
export function withReferences(
  store: Reads,
  referencesTo: (digest: Digest) => readonly Reference[],
  sources: Sources,
): Reads {
  return {
    async stat(digest, signal = new AbortController().signal) {
      const found = await store.stat(digest, signal);
      if (found) return found;
      for (const reference of referencesTo(digest)) {
        if (await isThere(reference, signal)) return { size: reference.size, stored_at: 0 };
      }
      return null;
    },

    async get(digest, range, signal) {
      try {
        return await store.get(digest, range, signal);
      } catch (error) {
        const references = error instanceof Problem && error.code === 'unknown-blob' ? referencesTo(digest) : [];
        if (references.length === 0) throw error;
        return openFirst(references, range, signal);
      }
    },
  };

  async function isThere(reference: Reference, signal: AbortSignal): Promise<boolean> {
    try {
      await checkObject(sources, reference, signal);
      return true;
    } catch (error) {
      if (isUnusable(error)) return false;
      throw error;
    }
  }

  /** @throws {Problem} what is wrong with the last one, if none can be read */
  async function openFirst(references: readonly Reference[], range?: ByteRange, signal?: AbortSignal) {
    let failure: unknown;
    for (const reference of references) {
      try {
        return await open(reference, range, signal);
      } catch (error) {
        signal?.throwIfAborted();
        failure = error;
      }
    }
    throw failure;
  }

  async function open(reference: Reference, range?: ByteRange, signal?: AbortSignal): Promise<Readable> {
    const stopped = new AbortController();
    const either = signal ? AbortSignal.any([signal, stopped.signal]) : stopped.signal;
    // The answer to a range shows neither the ETag nor the size of the whole then.
    if (range && reference.etag === null) await checkObject(sources, reference, either);
    const { bytes } = await openObject(sources, reference, range ?? null, either).catch(async (error) => {
      // A storage may refuse a range of a smaller object before it states its ETag.
      if (range && !isUnusable(error)) await checkObject(sources, reference, either);
      throw error;
    });
    // Without an ETag, only the bytes show whether the object changed.
    const sure = reference.etag === null && !range ? comparing(bytes, reference) : bytes;
    const readable = Readable.from(sure, { objectMode: false, highWaterMark: 256 * 1024 });
    // Otherwise a reader that leaves would wait for the next bytes of the source.
    readable.once('close', () => stopped.abort());
    return readable;
  }
}

async function* comparing(bytes: AsyncIterable<Uint8Array>, reference: Reference): AsyncGenerator<Uint8Array> {
  try {
    yield* verified(bytes, reference.digest, reference.size);
  } catch (error) {
    if (!(error instanceof Problem && error.code === 'checksum-mismatch')) throw error;
    throw changed(reference, 'was replaced');
  }
}

/** It is gone, was replaced, or is not allowed any more. */
function isUnusable(error: unknown): boolean {
  return error instanceof Problem && (error.code === 'reference-changed' || error.code === 'reference-not-allowed');
}
