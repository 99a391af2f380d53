import type { Digest } from '../domain/digest.ts';
import type { Target } from '../domain/fleet.ts';
import type { Artifact, Manifest } from '../domain/manifest.ts';
import type { Cache } from './cache.ts';
import { failureOf, LoadFailure } from './failure.ts';
import type { Fetcher } from './fetch.ts';
import { type Files, filesIn } from './files.ts';
import { checkGolden, GOLDEN_FILE } from './golden.ts';
import { createLoadedVersion, type LeasedVersion, type LoadedVersion, type VersionInfo } from './loaded-version.ts';
import type { LoaderLog } from './log.ts';
import { checkRequires, type RuntimeFacts } from './runtime.ts';

/** The service's own functions on a version and its model. */
export interface Hydration<M> {
  /** Loads the version's files into memory. `signal` aborts if the load is overtaken or times out. */
  hydrate(version: VersionInfo, files: Files, signal: AbortSignal): Promise<M> | M;
  /** Answers one golden request; `loaded` is for values that it derives. Without it, golden requests are not checked. */
  predict?: ((model: M, input: unknown, loaded: LoadedVersion<M>) => unknown) | undefined;
  /** Called when the model was replaced and no lease uses it any more. */
  dispose?: ((model: M) => unknown) | undefined;
}

export interface LoadOptions<M> extends Hydration<M> {
  model: string;
  cache: Cache;
  fetcher: Fetcher;
  facts: RuntimeFacts;
  timeoutMs: number;
  log: LoaderLog;
}

export interface LoadResult<M> {
  leased: LeasedVersion<M>;
  load_ms: number;
  warm_up_ms: number;
}

export type Phase = 'fetching' | 'loading' | 'warming-up';

/** Loads a version: fetch, verify, check `requires`, hydrate, warm up. `entered` is called as each phase begins. */
export type Load<M> = (target: Target, signal: AbortSignal, entered: (phase: Phase) => void) => Promise<LoadResult<M>>;

const PARALLEL = 4;

/** Each load rejects with a {LoadFailure}, or with the signal's reason. */
export function createLoad<M>({ model, cache, fetcher, facts, timeoutMs, log, ...service }: LoadOptions<M>): Load<M> {
  const dispose = service.dispose ?? (() => {});

  return async (target, signal, entered) => {
    const { version, manifest_digest } = target;
    entered('fetching');
    const manifest = await fetchAll(version, manifest_digest, signal);
    checkRequires(manifest.requires, await facts(manifest.requires));
    const folder = await cache.folder(manifest_digest, manifest);
    await cache.touch(manifest_digest);
    const info = { model, version, manifest, manifest_digest };
    const files = filesIn(folder);

    entered('loading');
    const started = performance.now();
    const hydrated = await withinTime(signal, timeoutMs, dispose, (limit) => service.hydrate(info, files, limit));
    const failed = (err: unknown) => log.error({ err, version }, 'a version could not be disposed of');
    const leased = createLoadedVersion(info, files, hydrated, { dispose, failed, clock: () => performance.now() });
    const loaded = performance.now();
    entered('warming-up');
    await warmUp(leased, signal);
    const warm = performance.now();
    return { leased, load_ms: Math.round(loaded - started), warm_up_ms: Math.round(warm - loaded) };
  };

  async function fetchAll(version: string, digest: Digest, signal: AbortSignal): Promise<Manifest> {
    try {
      const manifest = await cache.manifest(digest, () => fetcher.manifest(version, signal));
      await fetchBlobs(version, manifest.artifacts, signal);
      return manifest;
    } catch (error) {
      signal.throwIfAborted();
      throw failureOf(error, 'fetch-failed');
    }
  }

  /** Fetches a few blobs at a time. After a failure, it stops the other fetches before it rejects. */
  async function fetchBlobs(version: string, artifacts: readonly Artifact[], signal: AbortSignal): Promise<void> {
    const failed = new AbortController();
    const either = AbortSignal.any([signal, failed.signal]);
    const queue = artifacts.values(); // shared by all workers
    const worker = async () => {
      for (const artifact of queue) {
        if (either.aborted) return;
        await fetchBlob(version, artifact, either);
      }
    };
    const workers = Array.from({ length: PARALLEL }, worker);
    try {
      await Promise.all(workers);
    } finally {
      failed.abort();
      await Promise.allSettled(workers);
    }
    signal.throwIfAborted();
  }

  /** Wrong bytes from an address of the store may be right in the registry, which may have a copy. */
  async function fetchBlob(version: string, artifact: Artifact, signal: AbortSignal): Promise<void> {
    let redirected = false;
    const followed = () => {
      redirected = true;
    };
    try {
      await cache.blob(artifact, () => fetcher.bytes(version, artifact, signal, { accept: true, followed }));
    } catch (error) {
      if (!redirected || !(error instanceof LoadFailure) || error.code !== 'digest-mismatch') throw error;
      log.warn({ version, err: error }, 'the store sent wrong bytes; downloading through the registry');
      await cache.blob(artifact, () => fetcher.bytes(version, artifact, signal, { accept: false }));
    }
  }

  /** Checks golden requests. A version that fails is retired, after its last answer. */
  async function warmUp(leased: LeasedVersion<M>, signal: AbortSignal): Promise<void> {
    const { predict } = service;
    const { manifest, files } = leased.loaded;
    if (!predict || !manifest.artifacts.some(({ path }) => path === GOLDEN_FILE)) return;
    const check = (limit: AbortSignal) => {
      const lease = leased.lease();
      const answer = (input: unknown) => predict(lease.model, input, lease);
      return checkGolden(files.path(GOLDEN_FILE), answer, limit).finally(lease.release);
    };
    await withinTime(signal, timeoutMs, () => {}, check).catch((error: unknown) => {
      void leased.retire();
      throw error;
    });
  }
}

/**
 * Returns the result of `action` if it is ready in time; disposes of a later result.
 *
 * @throws {LoadFailure} load-timeout, hydrate-failed, or that of `action`; or the signal's reason
 */
async function withinTime<T>(
  signal: AbortSignal,
  timeoutMs: number,
  dispose: (late: T) => unknown,
  action: (limit: AbortSignal) => Promise<T> | T,
): Promise<T> {
  signal.throwIfAborted();
  const limit = new AbortController();
  const abandoned = Promise.withResolvers<never>();
  abandoned.promise.catch(() => {}); // `action` may abort the signal before the race below
  const abandon = (reason: unknown) => {
    limit.abort(reason);
    abandoned.reject(reason);
  };
  const stop = () => abandon(signal.reason);
  const timer = setTimeout(() => {
    abandon(new LoadFailure('load-timeout', `not ready after ${timeoutMs / 1000} s`));
  }, timeoutMs);
  signal.addEventListener('abort', stop);
  const result = (async () => action(limit.signal))();
  try {
    return await Promise.race([result, abandoned.promise]);
  } catch (error) {
    result.then(dispose).catch(() => {});
    signal.throwIfAborted();
    throw failureOf(error, 'hydrate-failed');
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', stop);
  }
}
