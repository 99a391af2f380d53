import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Digest } from '../domain/digest.ts';
import { Problem, type ProblemCode } from '../domain/errors.ts';
import type { Artifact } from '../domain/manifest.ts';
import { type CallOptions, type RegistryClient, RegistryUnreachable } from './client.ts';

/** Called with how many more bytes were sent; negative if bytes must be sent again. */
export type Sent = (bytes: number) => void;

export interface Patience {
  /** The pauses between attempts that get no further: together long enough for the restart of a registry. */
  pausesMs: readonly number[];
  /** How long the connection may take none of the bytes. */
  idleMs: number;
}

const PATIENCE: Patience = { pausesMs: [500, 1_000, 2_000, 4_000, 8_000, 8_000], idleMs: 60_000 };

/** What is over for the bytes that were kept, but not for the upload: it begins again. */
const BEGIN_AGAIN: readonly ProblemCode[] = ['checksum-mismatch', 'too-many-uploads'];
const NO_RESUMPTION: readonly ProblemCode[] = ['not-found', 'method-not-allowed'];

/**
 * Sends a file as a blob. After a broken connection or a failure of the server, goes on where the upload ended, as long as
 * each attempt gets further or `pausesMs` are not used up. A registry that keeps no uploads gets one attempt.
 *
 * @throws {Problem} checksum-mismatch if the bytes do not match the digest; {RegistryUnreachable}
 */
export async function sendFile(
  client: RegistryClient,
  path: string,
  { digest, size }: Artifact,
  sent: Sent,
  { pausesMs, idleMs }: Patience = PATIENCE,
): Promise<void> {
  const count = positionCounter(sent);
  let offset = 0;
  let furthest = 0;
  let failure: unknown = null;
  for (let failures = 0; ; failures++) {
    try {
      if (failure) offset = await offsetOf(client, digest, failure);
      if (offset > furthest) failures = 0;
      furthest = Math.max(furthest, offset);
      count(Math.min(offset, size));
      if (offset !== COMPLETE) await sendFrom(client, { path, offset, digest, size, idleMs }, count);
      return;
    } catch (error) {
      // `offsetOf` throws the failure itself if the registry keeps no uploads.
      if (error === failure || !canGoOn(error, offset) || failures >= pausesMs.length) throw error;
      failure = error;
    }
    await sleep(pausesMs[failures]! * (0.5 + Math.random() / 2));
  }
}

const COMPLETE = Number.POSITIVE_INFINITY;

/** Asks how far the upload got. @throws `failure` if this registry keeps no uploads */
async function offsetOf(client: RegistryClient, digest: Digest, failure: unknown): Promise<number> {
  try {
    const state = await client.call<UploadState>('GET', `/api/uploads/${digest}`);
    return state.upload_complete ? COMPLETE : state.upload_offset;
  } catch (error) {
    throw error instanceof Problem && NO_RESUMPTION.includes(error.code) ? failure : error;
  }
}

interface UploadState {
  upload_offset: number;
  upload_complete: boolean;
}

function canGoOn(error: unknown, offset: number): boolean {
  if (error instanceof RegistryUnreachable) return true;
  if (!(error instanceof Problem)) return false;
  if (error.code === 'mismatching-upload-offset') return true;
  if (BEGIN_AGAIN.includes(error.code)) return offset > 0;
  return error.status >= 500 && error.code !== 'volume-full';
}

interface Rest {
  path: string;
  offset: number;
  digest: Digest;
  size: number;
  idleMs: number;
}

async function sendFrom(client: RegistryClient, rest: Rest, count: (position: number) => void): Promise<void> {
  const { path, offset, digest, size, idleMs } = rest;
  const idle = new AbortController();
  // Not `Readable.toWeb`: bytes that it buffered end the process if the request is refused just when they are asked for.
  const stream = ReadableStream.from(watched(bytesFrom(path, offset), offset, { count, idle, idleMs }));
  const bytes = { stream, size: size - offset, digest: async () => digest };
  const options: CallOptions = { bytes, signal: idle.signal };
  if (offset === 0) return client.call('PUT', `/api/blobs/${digest}`, options);
  options.headers = { 'Upload-Offset': String(offset), 'Upload-Complete': '?1' };
  options.bytes = { ...bytes, digest: () => digestFrom(path, offset), type: 'application/partial-upload' };
  return client.call('PATCH', `/api/uploads/${digest}`, options);
}

/** Counts the bytes, and aborts `idle` if the connection does not take the next ones in time. */
async function* watched(
  bytes: AsyncIterable<Uint8Array>,
  offset: number,
  { count, idle, idleMs }: { count(position: number): void; idle: AbortController; idleMs: number },
): AsyncGenerator<Uint8Array> {
  let position = offset;
  const stalled = () => idle.abort(new RegistryUnreachable(`The connection took no bytes for ${idleMs / 1_000} s.`));
  const timer = setTimeout(stalled, idleMs).unref();
  try {
    for await (const chunk of bytes) {
      position += chunk.length;
      count(position);
      timer.refresh();
      yield chunk;
    }
  } finally {
    clearTimeout(timer);
  }
}

/** Returns a function that is called with a position in the file, and passes on the difference to the last one. */
function positionCounter(sent: Sent): (position: number) => void {
  let counted = 0;
  return (position) => {
    if (position !== counted) sent(position - counted);
    counted = position;
  };
}

/** A generator opens the file on the first read: the error of a stream that nobody reads would end the process. */
async function* bytesFrom(path: string, start: number): AsyncGenerator<Uint8Array> {
  yield* createReadStream(path, { start, highWaterMark: 256 * 1024 });
}

async function digestFrom(path: string, start: number): Promise<Digest> {
  const hash = createHash('sha256');
  for await (const chunk of bytesFrom(path, start)) hash.update(chunk);
  return `sha256:${hash.digest('hex')}`;
}
