import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { clientTokens } from '../access/client-token.ts';
import { createClient } from '../client/client.ts';
import { type LoaderConfig, loaderVariables, readConfig } from '../config.ts';
import type { LoaderReport } from '../domain/fleet.ts';
import { userCacheFolder } from '../files/cache-folder.ts';
import { version } from '../version.ts';
import { openCache } from './cache.ts';
import { type Engine, startEngine } from './engine.ts';
import { createFetcher } from './fetch.ts';
import { startLegacy } from './legacy.ts';
import { createLoad, type Hydration } from './load.ts';
import type { Lease, LoadedVersion } from './loaded-version.ts';
import { consoleLog, type LoaderLog } from './log.ts';
import { type Reporter, startReporter } from './reporter.ts';
import { nodeRuntime, type RuntimeFacts } from './runtime.ts';
import { openTransport } from './sources/transport.ts';

/** `model` to `cacheDir` are read from the environment if they are not set (docs/loaders.md, Variables). */
export interface LoaderOptions<M> extends Hydration<M> {
  model?: string;
  environment?: string;
  /** The registry's address. */
  dsn?: string;
  token?: string;
  /** URL of the event stream to follow, or `nats://…`. */
  endpoint?: string;
  cacheDir?: string;
  /** Limit of the cache in bytes; default: 20 GiB. */
  cacheBytes?: number;
  /** Path of the registry's mounted volume: files are read from it instead of over HTTP. */
  volume?: string;
  /** Time-out in ms of `hydrate`, and of all golden requests together; default: 5 minutes. */
  loadTimeoutMs?: number;
  /** Returns the facts that `requires` is checked against; default: those of this process. */
  runtime?: RuntimeFacts;
  log?: LoaderLog;
}

/** A service's model, kept at the active version. */
export interface Loader<M> {
  /**
   * Resolves when a version serves.
   * @throws {NotReady} with the reason, after `timeoutMs` (default: 30,000) or when the loader is closed. With
   * `SIGNALBOX_LEGACY` there is no time-out, and a failure rejects with the error of `hydrate`.
   * @example
   * const { version } = await loader.ready(60_000);
   */
  ready(timeoutMs?: number): Promise<LoadedVersion<M>>;
  /**
   * Returns the version that serves; it stays in memory until it is released.
   * @throws {NotReady} if no version serves
   * @example
   * const lease = loader.lease();
   * try {
   *   return lease.model.predict(row);
   * } finally {
   *   lease.release();
   * }
   */
  lease(): Lease<M>;
  /**
   * Calls `work` with the version that serves and returns its result; the version stays in memory until then.
   * @throws {NotReady} if no version serves, or the error of `work`
   * @example
   * const answer = await loader.use(async ({ model, version }) => ({ version, score: await model.predict(row) }));
   */
  use<T>(work: (loaded: LoadedVersion<M>) => T | Promise<T>): Promise<T>;
  /**
   * Returns the report that the registry gets.
   * @example
   * const { state, current, stale, error } = loader.status();
   */
  status(): LoaderReport;
  /**
   * Stops the loader, and disposes of the model when the last lease is released: it waits up to 10 s for that (with
   * `SIGNALBOX_LEGACY`: without a limit).
   * @example
   * process.once('SIGTERM', () => loader.close());
   */
  close(): Promise<void>;
}

const LOAD_TIMEOUT_MS = 300_000;
const CACHE_BYTES = 20 * 1024 ** 3;
const READY_TIMEOUT_MS = 30_000;

/**
 * Starts to follow a model in the background. `ready` resolves when a version serves.
 *
 * @throws {Error} for an invalid option or variable, or a cache folder that cannot be written to
 * @throws {UnsafeCacheFolder} for a cache folder that another user could change
 * @example
 * const loader = await startLoader({
 *   model: 'greetings',
 *   environment: 'production',
 *   hydrate: (_version, files) => readFile(files.path('model.txt'), 'utf8'),
 *   predict: (text, name) => `${text}, ${name}`,
 * });
 * await loader.ready();
 * const greeting = await loader.use(({ model }) => `${model}, world`);
 * await loader.close();
 */
export async function startLoader<M>(options: LoaderOptions<M>): Promise<Loader<M>> {
  const config = configOf(options);
  const { log = consoleLog, runtime = nodeRuntime } = options;
  const { REGISTRY_MODEL: model, REGISTRY_ENVIRONMENT: environment, SIGNALBOX_LEGACY: legacy } = config;
  const instance = newInstance();
  const self = { environment, host: hostname(), pid: process.pid, client: `signalbox-node ${version}` };
  let facts = await runtime({});
  if (legacy !== undefined) {
    const engine = startLegacy(legacy, model, options, log);
    const report = () => ({ ...self, ...engine.status(), runtime: facts, cache: { hits: 0, misses: 0 } });
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
    fetcher: createFetcher({ client: registry, model, volume: options.volume, log }),
    facts: async (requires) => {
      facts = await runtime(requires);
      return facts;
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
  const report = () => ({ ...self, ...engine.status(), runtime: facts, cache: { ...cache.counts } });
  reporter = startReporter(report, transport.send, log);
  return loaderOver(engine, report, async () => {
    await engine.close();
    await reporter.close(); // after the engine: the last report has the state `stopped`
    await transport.close();
  });
}

/** Returns a folder for each registry: the position in another registry's log would look like a replaced log. */
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
  const options = {
    REGISTRY_MODEL: model,
    REGISTRY_ENVIRONMENT: environment,
    REGISTRY_DSN: dsn,
    REGISTRY_TOKEN: token,
    HOT_RELOAD_ENDPOINT: endpoint,
    MANIFEST_CACHE_DIR: cacheDir,
  };
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  return readConfig(loaderVariables, { ...process.env, ...Object.fromEntries(given) });
}

/** Returns an instance name that is unique among the loaders of a process and a host. */
function newInstance(): string {
  const host = hostname()
    .replace(/[^A-Za-z0-9_-]/g, '-')
    .slice(0, 60);
  return `${host}-${process.pid}-${randomBytes(2).toString('hex')}`;
}
