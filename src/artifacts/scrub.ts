import { setTimeout as sleep } from 'node:timers/promises';
import type { Digest } from '../domain/digest.ts';
import { Problem } from '../domain/errors.ts';
import { isErrno } from '../files/errno.ts';
import type { ArtifactStore } from './store.ts';
import { verified } from './verify.ts';

/** In the background, a scrub reads at most this many bytes a second, so that it does not take the disk from others. */
const BYTES_PER_SECOND = 32 * 1024 * 1024;

export type BlobState = 'intact' | 'damaged' | 'missing';

/**
 * Reads a blob again, at a bounded rate, and compares its bytes with its digest.
 *
 * @throws {Error} if it cannot be opened, or `stop` is aborted
 */
export async function inspectBlob(
  store: Pick<ArtifactStore, 'get'>,
  digest: Digest,
  stop: AbortSignal,
  rate = BYTES_PER_SECOND,
): Promise<BlobState> {
  try {
    for await (const _ of verified(slowly(await store.get(digest, undefined, stop), stop, rate), digest));
    return 'intact';
  } catch (error) {
    const state = stateShownBy(error);
    if (state === null) throw error;
    return state;
  }
}

/** Returns what an error of reading a blob shows about it; null if nothing. */
export function stateShownBy(error: unknown): Exclude<BlobState, 'intact'> | null {
  if (error instanceof Problem && error.code === 'unknown-blob') return 'missing';
  if (error instanceof Problem && error.code === 'checksum-mismatch') return 'damaged';
  return isErrno(error, 'EIO') ? 'damaged' : null; // the disk cannot read it any more
}

/** Yields the bytes unchanged, at most `rate` of them a second. @throws {Error} if `stop` is aborted */
export async function* slowly(
  bytes: AsyncIterable<Uint8Array>,
  stop: AbortSignal,
  rate = BYTES_PER_SECOND,
): AsyncGenerator<Uint8Array> {
  const started = performance.now();
  let sent = 0;
  for await (const chunk of bytes) {
    stop.throwIfAborted();
    yield chunk;
    sent += chunk.length;
    const early = (sent / rate) * 1_000 - (performance.now() - started);
    if (early > 0) await sleep(early, null, { signal: stop });
  }
}
