import type { Digest } from '../domain/digest.ts';
import type { Manifest } from '../domain/manifest.ts';
import type { Files } from './files.ts';

/** A published version, as `hydrate` gets it. */
export interface VersionInfo {
  model: string;
  version: string;
  manifest: Manifest;
  manifest_digest: Digest;
}

/**
 * Options of `derived`.
 * @example
 * const index = await loader.use(({ files, derived }) =>
 *   derived('index', () => readFile(files.path('index.bin')), { ttl_ms: 60_000, dispose: (bytes) => bytes.fill(0) }),
 * );
 */
export interface DeriveOptions<T> {
  /** Milliseconds after the build until the next call builds again; default: no expiry. */
  ttl_ms?: number;
  /** Called when no lease can use the value any more. */
  dispose?(value: T): unknown;
}

/** A version in memory with everything derived from it. It is replaced as a whole, so versions never mix. */
export interface LoadedVersion<M> extends Omit<VersionInfo, 'model'> {
  model: M;
  files: Files;
  /**
   * Builds a value once and keeps it until it expires or the version is retired. A failed build is not kept.
   * @throws {Error} if the version is retired; or the error of `build`
   */
  derived<T>(name: string, build: () => T | Promise<T>, options?: DeriveOptions<NoInfer<T>>): Promise<T>;
}

/** @deprecated The former name of `LoadedVersion`. */
export type Bundle<M> = LoadedVersion<M>;

/** A loaded version that is not disposed of before `release` is called. */
export interface Lease<M> extends LoadedVersion<M> {
  /** Further calls have no effect. */
  release(): void;
}

/** A loaded version and its leases. */
export interface LeasedVersion<M> {
  loaded: LoadedVersion<M>;
  lease(): Lease<M>;
  /** Resolves when the last lease is released and everything is disposed of. Never rejects. */
  retire(): Promise<void>;
}

interface Derived {
  value: Promise<unknown>;
  expires: number;
  dispose: (value: never) => unknown;
}

export interface LoadedVersionOptions<M> {
  dispose(model: M): unknown;
  /** Called with the error of a failed `dispose`. */
  failed(error: unknown): void;
  /** Monotonic milliseconds. */
  clock(): number;
}

export function createLoadedVersion<M>(
  { version, manifest, manifest_digest }: VersionInfo,
  files: Files,
  model: M,
  { dispose, failed, clock }: LoadedVersionOptions<M>,
): LeasedVersion<M> {
  const resources = new Map<string, Derived>();
  /** Leases may still use these. */
  const expired: Derived[] = [];
  const idle = Promise.withResolvers<void>();
  let leases = 0;
  let retiring = false;
  let retired = false;
  const loaded: LoadedVersion<M> = Object.freeze({ version, manifest, manifest_digest, files, model, derived });

  return {
    loaded,
    lease() {
      leases++;
      let held = true;
      const release = () => {
        if (!held) return;
        held = false;
        leases--;
        if (leases > 0) return;
        if (retiring) idle.resolve();
        else void disposeAll(expired.splice(0));
      };
      return Object.freeze({ ...loaded, release });
    },
    async retire() {
      retiring = true;
      if (leases > 0) await idle.promise;
      retired = true;
      await disposeAll([...expired.splice(0), ...resources.values()]);
      resources.clear();
      await attempt(() => dispose(model));
    },
  };

  function derived<T>(
    name: string,
    build: () => T | Promise<T>,
    { ttl_ms = Number.POSITIVE_INFINITY, dispose = () => {} }: DeriveOptions<T> = {},
  ): Promise<T> {
    if (retired) return Promise.reject(new Error(`Version ${version} is retired: nothing can be derived from it.`));
    const known = resources.get(name);
    if (known && known.expires > clock()) return known.value as Promise<T>;
    if (known) expired.push(known);
    const value = (async () => build())();
    // The TTL starts after the build: otherwise every caller would restart a build that takes longer than the TTL.
    const resource: Derived = { value, expires: Number.POSITIVE_INFINITY, dispose };
    resources.set(name, resource);
    value.then(
      () => {
        resource.expires = clock() + ttl_ms;
      },
      () => {
        if (resources.get(name) === resource) resources.delete(name);
      },
    );
    return value;
  }

  async function disposeAll(all: Derived[]): Promise<void> {
    for (const { value, dispose } of all) {
      const [built] = await Promise.allSettled([value]);
      if (built.status === 'fulfilled') await attempt(() => dispose(built.value as never));
    }
  }

  async function attempt(action: () => unknown): Promise<void> {
    try {
      await action();
    } catch (error) {
      failed(error);
    }
  }
}
