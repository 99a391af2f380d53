import type { Digest } from '../domain/digest.ts';
import type { Manifest } from '../domain/manifest.ts';
import type { Files } from './files.ts';

/** What a version is, for who loads it. */
export interface VersionInfo {
  model: string;
  version: string;
  manifest: Manifest;
  manifest_digest: Digest;
}

export interface DeriveOptions<T> {
  /** How long it is good; for as long as the bundle, if not said. */
  ttl_ms?: number;
  /** Called when nothing can be using it any more. */
  dispose?(value: T): unknown;
}

/** A version in memory, with all that was made of it: it is swapped as one, so that no two versions ever mix. */
export interface Bundle<M> extends Omit<VersionInfo, 'model'> {
  model: M;
  files: Files;
  /** Builds a resource once and keeps it until its time has passed or the bundle goes. A build that fails is not kept. */
  derived<T>(name: string, build: () => T | Promise<T>, options?: DeriveOptions<NoInfer<T>>): Promise<T>;
}

/** A bundle that stays whole until `release` is called. */
export interface Lease<M> extends Bundle<M> {
  release(): void;
}

/** A bundle with who uses it. */
export interface LeasedBundle<M> {
  bundle: Bundle<M>;
  lease(): Lease<M>;
  /** No lease is given any more; resolves when the last one is back and everything is disposed of. Never rejects. */
  retire(): Promise<void>;
}

interface Derived {
  value: Promise<unknown>;
  expires: number;
  dispose: (value: never) => unknown;
}

export interface BundleOptions<M> {
  dispose(model: M): unknown;
  /** Told of what a `dispose` throws. */
  failed(error: unknown): void;
  /** Milliseconds that never go backwards. */
  clock(): number;
}

export function createBundle<M>(
  { version, manifest, manifest_digest }: VersionInfo,
  files: Files,
  model: M,
  { dispose, failed, clock }: BundleOptions<M>,
): LeasedBundle<M> {
  const resources = new Map<string, Derived>();
  /** Out of date, and perhaps in use by who has a lease. */
  const expired: Derived[] = [];
  const idle = Promise.withResolvers<void>();
  let leases = 0;
  let retired = false;
  let gone = false;
  const bundle: Bundle<M> = Object.freeze({ version, manifest, manifest_digest, files, model, derived });

  return {
    bundle,
    lease() {
      leases++;
      let held = true;
      const release = () => {
        if (!held) return;
        held = false;
        leases--;
        if (leases > 0) return;
        if (retired) idle.resolve();
        else void disposeAll(expired.splice(0));
      };
      return Object.freeze({ ...bundle, release });
    },
    async retire() {
      retired = true;
      if (leases > 0) await idle.promise;
      gone = true;
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
    if (gone) return Promise.reject(new Error(`Version ${version} was let go: nothing is derived from it any more.`));
    const known = resources.get(name);
    if (known && known.expires > clock()) return known.value as Promise<T>;
    if (known) expired.push(known);
    const value = (async () => build())();
    // Its time begins when it is there: a build that takes longer than that would be begun again by every caller.
    const made: Derived = { value, expires: Number.POSITIVE_INFINITY, dispose };
    resources.set(name, made);
    value.then(
      () => {
        made.expires = clock() + ttl_ms;
      },
      () => {
        if (resources.get(name) === made) resources.delete(name);
      },
    );
    return value;
  }

  async function disposeAll(all: Derived[]): Promise<void> {
    for (const { value, dispose } of all) {
      const made = await value.then(
        (value) => ({ value }),
        () => null, // it was never built
      );
      if (made) await attempt(() => dispose(made.value as never));
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
