import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import type { RegistryClient } from '../client/client.ts';
import type { Digest } from '../domain/digest.ts';
import { Problem } from '../domain/errors.ts';
import type { Artifact } from '../domain/manifest.ts';
import { type Part, readAddress, UnusableAddress } from './address.ts';
import { createBackoff } from './backoff.ts';
import { LoadFailure } from './failure.ts';
import type { LoaderLog } from './log.ts';

/** Downloads a version's manifest and bytes. */
export interface Fetcher {
  manifest(version: string, signal: AbortSignal): Promise<string>;
  bytes(version: string, artifact: Artifact, signal: AbortSignal, redirects?: Redirects): AsyncIterable<Uint8Array>;
}

/** Whether bytes may come from an address of the artifact store; they may by default. */
export interface Redirects {
  accept: boolean;
  /** Called when bytes come from an address. */
  followed?: (() => void) | undefined;
}

export interface FetcherOptions {
  client: RegistryClient;
  model: string;
  /** Path of the registry's mounted volume; blobs are then read from it. */
  volume?: string | undefined;
  log: LoaderLog;
}

const SETTINGS = {
  /** The longest time without a byte of a body. */
  idleMs: 30_000,
  /** For smaller files, a redirect would take longer than the registry. */
  redirectedBytes: 16 * 1024 * 1024,
};
const ATTEMPTS = 4;

export function createFetcher(
  { client, model, volume, log }: FetcherOptions,
  settings: Partial<typeof SETTINGS> = {},
): Fetcher {
  const { idleMs, redirectedBytes } = { ...SETTINGS, ...settings };
  const pathOf = (version: string) => `/api/models/${model}/versions/${version}`;

  return {
    async manifest(version, signal) {
      const limit = AbortSignal.any([signal, AbortSignal.timeout(idleMs)]);
      return (await client.open(`${pathOf(version)}/manifest`, { signal: limit })).text();
    },
    bytes(version, artifact, signal, redirects = { accept: true }) {
      if (volume !== undefined) return blobIn(volume, artifact.digest);
      const path = `${pathOf(version)}/files/${artifact.path.split('/').map(encodeURIComponent).join('/')}`;
      return download(path, artifact.size, signal, redirects);
    },
  };

  /**
   * Resumes a body that ended early where it ended; from the store with a fresh address, as the last one may have expired.
   * After an address without bytes, the rest comes through the registry.
   */
  async function* download(path: string, size: number, signal: AbortSignal, { accept, followed }: Redirects) {
    const backoff = createBackoff(200, 2_000);
    let redirects: Redirects = { accept: accept && size >= redirectedBytes, followed };
    let received = 0;
    for (let failures = 0; failures < ATTEMPTS; failures++) {
      try {
        for await (const chunk of read(path, { from: received, size }, redirects, signal)) {
          received += chunk.length;
          failures = 0;
          yield chunk;
        }
        if (received >= size) return;
      } catch (error) {
        signal.throwIfAborted();
        if (error instanceof Problem) throw error;
        if (error instanceof UnusableAddress) {
          log.warn({ path, reason: error.message }, 'the store cannot be read; downloading through the registry');
          redirects = { accept: false };
          failures--; // the registry did not fail
          continue;
        }
      }
      await backoff.pause(signal);
    }
    throw new LoadFailure('fetch-failed', `${path}: received ${received} of ${size} bytes`);
  }

  async function* read(
    path: string,
    part: Part,
    redirects: Redirects,
    signal: AbortSignal,
  ): AsyncGenerator<Uint8Array> {
    const idle = new AbortController();
    const watchdog = setTimeout(() => idle.abort(new Error(`no data for ${idleMs / 1000} s`)), idleMs);
    const either = AbortSignal.any([signal, idle.signal]);
    try {
      const headers: Record<string, string> = part.from > 0 ? { Range: `bytes=${part.from}-` } : {};
      const response = await client.open(path, { headers, acceptRedirect: redirects.accept, signal: either });
      for await (const chunk of bodyOf(response, part, redirects, either)) {
        watchdog.refresh();
        yield chunk;
      }
    } finally {
      clearTimeout(watchdog);
    }
  }
}

function bodyOf(
  response: Response,
  part: Part,
  { followed }: Redirects,
  signal: AbortSignal,
): AsyncIterable<Uint8Array> {
  const { status, body } = response;
  if (status === 307) {
    followed?.();
    return readAddress(response, part, signal);
  }
  if (part.from > 0 && status !== 206) throw new Error(`status ${status} instead of 206 for a range`);
  return body!;
}

/** A generator opens the file on the first read: the error of a stream that is never read would be uncaught. */
async function* blobIn(volume: string, digest: Digest): AsyncGenerator<Uint8Array> {
  yield* createReadStream(join(volume, 'blobs/sha256', digest.slice('sha256:'.length)));
}
