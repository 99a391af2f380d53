import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import type { RegistryClient } from '../client/client.ts';
import type { Digest } from '../domain/digest.ts';
import { Problem } from '../domain/errors.ts';
import type { Artifact } from '../domain/manifest.ts';
import { createBackoff } from './backoff.ts';
import { LoadFailure } from './failure.ts';

/** Downloads a version's manifest and bytes. */
export interface Fetcher {
  manifest(version: string, signal: AbortSignal): Promise<string>;
  bytes(version: string, artifact: Artifact, signal: AbortSignal): AsyncIterable<Uint8Array>;
}

export interface FetcherOptions {
  client: RegistryClient;
  model: string;
  /** Path of the registry's mounted volume; blobs are then read from it. */
  volume?: string | undefined;
}

/** `idleMs` is the longest time without a byte of a body. */
const TIMINGS = { idleMs: 30_000 };
const ATTEMPTS = 4;

export function createFetcher({ client, model, volume }: FetcherOptions, { idleMs } = TIMINGS): Fetcher {
  const pathOf = (version: string) => `/api/models/${model}/versions/${version}`;

  return {
    async manifest(version, signal) {
      const limit = AbortSignal.any([signal, AbortSignal.timeout(idleMs)]);
      return (await client.open(`${pathOf(version)}/manifest`, { signal: limit })).text();
    },
    bytes(version, artifact, signal) {
      if (volume !== undefined) return blobIn(volume, artifact.digest);
      const path = `${pathOf(version)}/files/${artifact.path.split('/').map(encodeURIComponent).join('/')}`;
      return download(path, artifact.size, signal);
    },
  };

  /** Resumes a body that ended early where it ended. */
  async function* download(path: string, size: number, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const backoff = createBackoff(200, 2_000);
    let received = 0;
    for (let failures = 0; failures < ATTEMPTS; failures++) {
      try {
        for await (const chunk of read(path, received, signal)) {
          received += chunk.length;
          failures = 0;
          yield chunk;
        }
        if (received >= size) return;
      } catch (error) {
        signal.throwIfAborted();
        if (error instanceof Problem) throw error;
      }
      await backoff.pause(signal);
    }
    throw new LoadFailure('fetch-failed', `${path}: received ${received} of ${size} bytes`);
  }

  async function* read(path: string, from: number, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const idle = new AbortController();
    const watchdog = setTimeout(() => idle.abort(new Error(`no data for ${idleMs / 1000} s`)), idleMs);
    try {
      const headers: Record<string, string> = from > 0 ? { Range: `bytes=${from}-` } : {};
      const response = await client.open(path, { headers, signal: AbortSignal.any([signal, idle.signal]) });
      if (from > 0 && response.status !== 206) throw new Error(`status ${response.status} instead of 206 for a range`);
      for await (const chunk of response.body!) {
        watchdog.refresh();
        yield chunk;
      }
    } finally {
      clearTimeout(watchdog);
    }
  }
}

/** A generator opens the file on the first read: the error of a stream that is never read would be uncaught. */
async function* blobIn(volume: string, digest: Digest): AsyncGenerator<Uint8Array> {
  yield* createReadStream(join(volume, 'blobs/sha256', digest.slice('sha256:'.length)));
}
