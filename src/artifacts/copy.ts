import type { Digest } from '../domain/digest.ts';
import { openPlaces } from '../structures/places.ts';
import { openTasks } from '../structures/tasks.ts';
import { createFailures, type Failures } from './failures.ts';
import { inspectBlob, stateShownBy } from './scrub.ts';
import type { ArtifactStore, BlobStat } from './store.ts';

/** Small blobs are mostly waiting for answers. */
const AT_ONCE = 16;
/** A store may keep several parts of a larger blob in memory. */
const SMALL_BYTES = 1024 * 1024;
const LARGE_AT_ONCE = 4;

export interface CopyOptions {
  from: ArtifactStore;
  to: ArtifactStore;
  /** Whether blobs that the target has are read and compared; if not, their size is enough. */
  verify: boolean;
  signal: AbortSignal;
  /** Called with the number of bytes that were copied or found in the target. */
  progress?(bytes: number): void;
}

export interface Copied {
  copied: number;
  copied_bytes: number;
  /** Blobs that the target had. */
  there: number;
  /** Blobs that were deleted from the source meanwhile. */
  gone: number;
  /** Blobs of the source whose bytes are not those of their digest. They were not copied. */
  damaged: Digest[];
  failed: Failures['list'];
}

type Result = 'copied' | 'there' | 'gone' | 'damaged';

/**
 * Copies the blobs of a store that another one lacks. Both may be in use. A blob that is put into the source during the copy
 * may be missed, so the copy is complete when a further one finds nothing to copy. A repetition after an interruption sends
 * nothing twice.
 *
 * @throws {Problem} volume-full; the last failure of many in a row
 */
export async function copyBlobs({ signal, ...options }: CopyOptions): Promise<Copied> {
  const failures = createFailures();
  const result: Copied = { copied: 0, copied_bytes: 0, there: 0, gone: 0, damaged: [], failed: failures.list };
  const stopped = new AbortController();
  const either = AbortSignal.any([signal, stopped.signal]);
  const running = openTasks(AT_ONCE);
  const large = openPlaces(LARGE_AT_ONCE);
  try {
    for await (const blob of options.from.list(either)) await running.start(() => copy(blob));
    await running.end();
  } catch (error) {
    stopped.abort();
    await running.end().catch(() => {}); // the first error is the one that is thrown
    throw error;
  }
  return result;

  async function copy(blob: Listed): Promise<void> {
    const isLarge = blob.size > SMALL_BYTES;
    if (isLarge) await large.take();
    try {
      count(blob, await copyBlob(blob, { ...options, signal: either }));
      failures.passed();
    } catch (error) {
      either.throwIfAborted();
      if (!failures.add(blob.digest, error)) throw error;
    } finally {
      if (isLarge) large.release();
    }
  }

  function count({ digest, size }: Listed, is: Result): void {
    if (is === 'damaged') result.damaged.push(digest);
    else result[is]++;
    if (is === 'copied') result.copied_bytes += size;
  }
}

type Listed = { digest: Digest } & BlobStat;

async function copyBlob({ digest, size }: Listed, options: CopyOptions): Promise<Result> {
  const { from, to, verify, signal, progress = () => {} } = options;
  const found = await to.stat(digest, signal);
  if (found?.size === size && (!verify || (await inspect(to)) === 'intact')) {
    progress(size);
    return 'there';
  }
  if (found) {
    // A `put` would keep what is there. It is deleted only for bytes that are right.
    const state = await inspect(from);
    if (state !== 'intact') return shown(state);
    await to.delete(digest, signal);
  }
  try {
    await to.put(digest, read(), size, signal);
    return 'copied';
  } catch (error) {
    const state = stateShownBy(error);
    if (state === null) throw error;
    return shown(state);
  }

  function inspect(store: ArtifactStore) {
    return inspectBlob(store, digest, signal, Number.POSITIVE_INFINITY);
  }

  /** Opens the blob on the first read: the error of a stream that nobody reads yet would end the process. */
  async function* read() {
    for await (const chunk of await from.get(digest, undefined, signal)) {
      progress(chunk.length);
      yield chunk;
    }
  }
}

function shown(state: 'damaged' | 'missing'): Result {
  return state === 'missing' ? 'gone' : 'damaged';
}
