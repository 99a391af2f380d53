import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import type { RegistryClient } from '../client/client.ts';
import type { Digest } from '../domain/digest.ts';
import { Problem } from '../domain/errors.ts';
import type { Artifact } from '../domain/manifest.ts';
import { createBackoff } from './backoff.ts';
import { LoadFailure } from './failure.ts';

/** Where a version's manifest and bytes come from. */
export interface Fetcher {
  manifest(version: string, signal: AbortSignal): Promise<string>;
  bytes(version: string, artifact: Artifact, signal: AbortSignal): AsyncIterable<Uint8Array>;
}

export interface FetcherOptions {
  client: RegistryClient;
  model: string;
  /** A registry's volume that is mounted here: its blobs are read from there. */
  volume?: string | undefined;
}

/** How long a body may stand still. */
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

  /** A body that is cut is gone on with where it ended. */
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
    throw new LoadFailure('fetch-failed', `${path}: ${received} of ${size} bytes came`);
  }

  async function* read(path: string, from: number, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const idle = new AbortController();
    const watchdog = setTimeout(() => idle.abort(new Error('the body fell silent')), idleMs);
    try {
      const headers: Record<string, string> = from > 0 ? { Range: `bytes=${from}-` } : {};
      const response = await client.open(path, { headers, signal: AbortSignal.any([signal, idle.signal]) });
      if (from > 0 && response.status !== 206) throw new Error('the answer is not the rest of the bytes');
      for await (const chunk of response.body!) {
        watchdog.refresh();
        yield chunk;
      }
    } finally {
      clearTimeout(watchdog);
    }
  }
}

/** The file is opened by who reads it: a stream that nobody reads would fail where nobody hears it. */
async function* blobIn(volume: string, digest: Digest): AsyncGenerator<Uint8Array> {
  yield* createReadStream(join(volume, 'blobs/sha256', digest.slice('sha256:'.length)));
}
