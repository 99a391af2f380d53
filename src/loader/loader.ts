import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { clientTokens } from '../access/client-token.ts';
import { createClient } from '../client/client.ts';
import { type LoaderConfig, loaderVariables, readConfig } from '../config.ts';
import type { LoaderReport } from '../domain/fleet.ts';
import { userCacheFolder } from '../files/cache-folder.ts';
import { version } from '../version.ts';
import type { Bundle, Lease } from './bundle.ts';
import { openCache } from './cache.ts';
import { type Engine, startEngine } from './engine.ts';
import { createFetcher } from './fetch.ts';
import { startLegacy } from './legacy.ts';
import { createLoad, type Hydration } from './load.ts';
import { consoleLog, type LoaderLog } from './log.ts';
import { type Reporter, startReporter } from './reporter.ts';
import { nodeRuntime, type RuntimeFacts } from './runtime.ts';
import { openTransport } from './sources/transport.ts';

/** What the service's code says; what it does not say is read from the environment (docs/loaders.md). */
export interface LoaderOptions<M> extends Hydration<M> {
  model?: string;
  environment?: string;
  /** The registry's address. */
  dsn?: string;
  token?: string;
  /** The event stream to follow, or `nats://…`. */
  endpoint?: string;
  cacheDir?: string;
  /** How many bytes the cache may hold; 20 GiB if not said. */
  cacheBytes?: number;
  /** The registry's volume, where it is mounted: bytes are read from there and not over HTTP. */
  volume?: string;
  /** How long hydrating, and then the golden requests, may take; 5 minutes if not said. */
  loadTimeoutMs?: number;
  /** States the facts of the process that loads the version; this one, if not said. */
  runtime?: RuntimeFacts;
  log?: LoaderLog;
}

/** A service's model, kept at the version that is active. */
export interface Loader<M> {
  /** Resolves when a version serves. @throws {NotReady} saying why none does after `timeoutMs` (30 s) */
  ready(timeoutMs?: number): Promise<Bundle<M>>;
  /** Lends the current bundle until it is released. @throws {NotReady} */
  lease(): Lease<M>;
  /** Lends the current bundle while `work` runs. @throws {NotReady} */
  use<T>(work: (bundle: Bundle<M>) => T | Promise<T>): Promise<T>;
  /** What is reported to the registry. */
  status(): LoaderReport;
  /** Lets go of the model when the last lease is back. */
  close(): Promise<void>;
}

const LOAD_TIMEOUT_MS = 300_000;
const CACHE_BYTES = 20 * 1024 ** 3;
const READY_TIMEOUT_MS = 30_000;

/**
 * Starts to follow a model, in the background: `ready` tells when a version serves.
 *
 * @throws {Error} for variables that are wrong, or a cache folder that cannot be written to
 * @throws {UnsafeCacheFolder} for a cache folder that another user could change
 */
export async function startLoader<M>(options: LoaderOptions<M>): Promise<Loader<M>> {
  const config = configOf(options);
  const { log = consoleLog, runtime = nodeRuntime } = options;
  const { REGISTRY_MODEL: model, REGISTRY_ENVIRONMENT: environment, SIGNALBOX_LEGACY: legacy } = config;
  const instance = newInstance();
  const self = { environment, host: hostname(), pid: process.pid, client: `signalbox-node ${version}` };
  let stated = await runtime({});
  if (legacy !== undefined) {
    const engine = startLegacy(legacy, model, options, log);
    const report = () => ({ ...self, ...engine.status(), runtime: stated, cache: { hits: 0, misses: 0 } });
    return loaderOver(engine, report, engine.close);
  }

  const folder = config.MANIFEST_CACHE_DIR ?? ownCacheFolder(config.REGISTRY_DSN);
  const limit = options.cacheBytes ?? CACHE_BYTES;
  const cache = await openCache({ folder, model, environment, limit });
  const transport = openTransport(config, instance, log);
  const registry = createClient({ dsn: config.REGISTRY_DSN, token: clientTokens(config) });
  const load = createLoad({
    model,
    cache,
    fetcher: createFetcher({ client: registry, model, volume: options.volume }),
    facts: async (requires) => {
      stated = await runtime(requires);
      return stated;
    },
    timeoutMs: options.loadTimeoutMs ?? LOAD_TIMEOUT_MS,
    hydrate: options.hydrate,
    predict: options.predict,
    dispose: options.dispose,
    log,
  });
  let reporter: Reporter | null = null;
  const { source } = transport;
  const engine = startEngine({ source, load, cache, log, changed: () => reporter?.changed() });
  const report = () => ({ ...self, ...engine.status(), runtime: stated, cache: { ...cache.counts } });
  reporter = startReporter(report, transport.send, log);
  return loaderOver(engine, report, async () => {
    await engine.close();
    await reporter.close(); // its last word is that the loader has stopped
    await transport.close();
  });
}

/** One for each registry: what was last good at another would be taken for a log that was replaced. */
function ownCacheFolder(dsn: string): string {
  return join(userCacheFolder(process.env), 'signalbox', 'loader', new URL(dsn).host.replace(/[^\w.-]/g, '_'));
}

function loaderOver<M>(engine: Engine<M>, status: () => LoaderReport, close: () => Promise<void>): Loader<M> {
  return {
    ready: (timeoutMs = READY_TIMEOUT_MS) => engine.ready(timeoutMs),
    lease: engine.lease,
    async use(work) {
      const lease = engine.lease();
      try {
        return await work(lease);
      } finally {
        lease.release();
      }
    },
    status,
    close,
  };
}

function configOf<M>({ model, environment, dsn, token, endpoint, cacheDir }: LoaderOptions<M>): LoaderConfig {
  const said = {
    REGISTRY_MODEL: model,
    REGISTRY_ENVIRONMENT: environment,
    REGISTRY_DSN: dsn,
    REGISTRY_TOKEN: token,
    HOT_RELOAD_ENDPOINT: endpoint,
    MANIFEST_CACHE_DIR: cacheDir,
  };
  const given = Object.entries(said).filter(([, value]) => value !== undefined);
  return readConfig(loaderVariables, { ...process.env, ...Object.fromEntries(given) });
}

/** One of its kind, however many a process or a host has. */
function newInstance(): string {
  const host = hostname()
    .replace(/[^A-Za-z0-9_-]/g, '-')
    .slice(0, 60);
  return `${host}-${process.pid}-${randomBytes(2).toString('hex')}`;
}
