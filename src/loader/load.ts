import type { Digest } from '../domain/digest.ts';
import type { Target } from '../domain/fleet.ts';
import type { Artifact, Manifest } from '../domain/manifest.ts';
import { type Bundle, createBundle, type LeasedBundle, type VersionInfo } from './bundle.ts';
import type { Cache } from './cache.ts';
import { failureOf, LoadFailure } from './failure.ts';
import type { Fetcher } from './fetch.ts';
import { type Files, filesIn } from './files.ts';
import { checkGolden, GOLDEN_FILE } from './golden.ts';
import type { LoaderLog } from './log.ts';
import { checkRequires, type RuntimeFacts } from './runtime.ts';

/** What the service does with a version. */
export interface Hydration<M> {
  hydrate(version: VersionInfo, files: Files, signal: AbortSignal): Promise<M> | M;
  /** Answers one input, for golden requests; the bundle is there for what is derived from it. */
  predict?: ((model: M, input: unknown, bundle: Bundle<M>) => unknown) | undefined;
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

export interface Loaded<M> {
  leased: LeasedBundle<M>;
  load_ms: number;
  warm_up_ms: number;
}

export type Phase = 'fetching' | 'loading' | 'warming-up';

/** Brings versions into memory: fetch, verify, check what they require, hydrate, warm up. */
export type Load<M> = (target: Target, signal: AbortSignal, entered: (phase: Phase) => void) => Promise<Loaded<M>>;

const PARALLEL = 4;

/** Each `load` rejects with a {LoadFailure}, or the signal's reason. */
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
    const leased = createBundle(info, files, hydrated, { dispose, failed, clock: () => performance.now() });
    const loaded = performance.now();
    entered('warming-up');
    await warmUp(leased, signal);
    const warm = performance.now();
    const times = { load_ms: Math.round(loaded - started), warm_up_ms: Math.round(warm - loaded) };
    return { leased, ...times };
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

  /** Some at a time; when one fails, the others are left off, and nothing is under way any more. */
  async function fetchBlobs(version: string, artifacts: readonly Artifact[], signal: AbortSignal): Promise<void> {
    const failed = new AbortController();
    const either = AbortSignal.any([signal, failed.signal]);
    const waiting = [...artifacts];
    const worker = async () => {
      for (let artifact = waiting.shift(); artifact && !either.aborted; artifact = waiting.shift()) {
        const wanted = artifact;
        await cache.blob(wanted, () => fetcher.bytes(version, wanted, either));
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

  /** A version that does not stand it is let go, but not before it has answered what it was asked last. */
  async function warmUp(leased: LeasedBundle<M>, signal: AbortSignal): Promise<void> {
    const { predict } = service;
    const { manifest, files } = leased.bundle;
    if (!predict || !manifest.artifacts.some(({ path }) => path === GOLDEN_FILE)) return;
    const check = async (limit: AbortSignal) => {
      const lease = leased.lease();
      try {
        await checkGolden(files.path(GOLDEN_FILE), (input) => predict(lease.model, input, lease), limit);
      } finally {
        lease.release();
      }
    };
    try {
      await withinTime(signal, timeoutMs, () => {}, check);
    } catch (error) {
      void leased.retire();
      throw error;
    }
  }
}

/**
 * What `action` makes, if it does so in time; what comes of it later is disposed of.
 *
 * @throws {LoadFailure} load-timeout, hydrate-failed, or what it throws as such
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
  abandoned.promise.catch(() => {}); // `action` itself may have it abandoned, before anybody waits
  const abandon = (reason: unknown) => {
    limit.abort(reason);
    abandoned.reject(reason);
  };
  const stop = () => abandon(signal.reason);
  const timer = setTimeout(() => {
    abandon(new LoadFailure('load-timeout', `it was not ready after ${timeoutMs / 1000} s`));
  }, timeoutMs);
  signal.addEventListener('abort', stop);
  const made = (async () => action(limit.signal))();
  try {
    return await Promise.race([made, abandoned.promise]);
  } catch (error) {
    made.then(dispose).catch(() => {}); // too late: nobody waits for it any more
    signal.throwIfAborted();
    throw failureOf(error, 'hydrate-failed');
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', stop);
  }
}
