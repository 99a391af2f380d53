import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { onTestFinished } from 'vitest';
import { createClient } from '../../src/client/client.ts';
import type { Target } from '../../src/domain/fleet.ts';
import { openCache } from '../../src/loader/cache.ts';
import { startEngine } from '../../src/loader/engine.ts';
import { createFetcher } from '../../src/loader/fetch.ts';
import type { Loader, LoaderLog, LoaderOptions } from '../../src/loader/index.ts';
import { createLoad } from '../../src/loader/load.ts';
import { httpSource } from '../../src/loader/sources/http.ts';
import { follow, hydrate, type Registry, silent, type TestModel } from '../loader/support.ts';
import { temporaryFolder } from '../support/folder.ts';

/** An inference service that answers requests all the time. */
export interface Service {
  name: string;
  /** The observations so far. */
  observed: Observed;
  /** Resolves when all observations are complete. */
  stop(): Promise<void>;
}

export interface Observed {
  /** Every target that served, in order. */
  served: Target[];
  /** Number of answered requests. */
  answered: number;
  /** Errors of requests. */
  failures: string[];
  /** Errors of loads. */
  errors: string[];
}

const LOOPS = 3;
/** Shorter than the defaults, which take minutes. */
const TIMINGS = {
  idleMs: 3_000,
  pollEveryMs: 3_000,
  pollTimeoutMs: 2_000,
  backoffMs: [100, 1_500] as [number, number],
};
const ENVIRONMENT = 'production';
const PYTHON_CLIENT = join(import.meta.dirname, '../../clients/python/src');

/** A service with the loader's default timings. */
export function nodeService(
  name: string,
  registry: Registry,
  options: Partial<LoaderOptions<TestModel>> = {},
): Promise<Service> {
  // The loader logs right after each change, so targets that served only for a moment are not missed.
  return serviceOf(name, (log) => follow(registry, { log, ...options }));
}

/** A service with short timings. */
export function impatientService(name: string, registry: Registry): Promise<Service> {
  return serviceOf(name, async (log) => {
    const model = 'default';
    const token = await registry.token();
    const client = createClient({ dsn: registry.url, token: async () => token });
    const folder = await temporaryFolder();
    const cache = await openCache({ folder, model, environment: ENVIRONMENT, limit: 1e9 });
    const path = `/api/models/${model}/events`;
    const dispose = (disposed: TestModel) => {
      disposed.disposed = true;
    };
    const fetcher = createFetcher({ client, model, log });
    const facts = async () => ({});
    const load = createLoad({ model, cache, fetcher, facts, timeoutMs: 60_000, hydrate, dispose, log });
    const source = httpSource({ client, path, model, environment: ENVIRONMENT, log }, TIMINGS);
    const engine = startEngine({ source, load, cache, log, changed() {}, backoffMs: TIMINGS.backoffMs });
    onTestFinished(() => engine.close());
    return engine;
  });
}

async function serviceOf(
  name: string,
  start: (
    log: LoaderLog,
  ) => Promise<Pick<Loader<TestModel>, 'lease' | 'ready'> & { status(): { current: Target | null } }>,
): Promise<Service> {
  const observed: Observed = { served: [], answered: 0, failures: [], errors: [] };
  const loader = await start({
    ...silent,
    info: () => observe(),
    error: (fields, message) => observed.errors.push(`${message}: ${JSON.stringify(fields)}`),
  });
  await loader.ready(30_000);
  observe();
  const stop = new AbortController();
  const loops = Array.from({ length: LOOPS }, async () => {
    while (!stop.signal.aborted) await request();
  });
  return {
    name,
    observed,
    async stop() {
      stop.abort();
      await Promise.all(loops);
    },
  };

  function observe(): void {
    const { current } = loader.status();
    if (current && current.revision !== observed.served.at(-1)?.revision) observed.served.push(current);
  }

  async function request(): Promise<void> {
    try {
      const lease = loader.lease();
      observe();
      await sleep(Math.random() * 20);
      const { model, version } = lease;
      lease.release();
      if (model.text !== version) throw new Error(`${version} answered as ${model.text}`);
      observed.answered++;
    } catch (error) {
      observed.failures.push(String(error));
      await sleep(100);
    }
  }
}

/** A service in a separate process with the Python loader. */
export async function pythonService(name: string, python: string, registry: Registry): Promise<Service> {
  const env = {
    ...process.env,
    PYTHONPATH: PYTHON_CLIENT,
    PYTHONDONTWRITEBYTECODE: '1',
    REGISTRY_DSN: registry.url,
    REGISTRY_TOKEN: await registry.token(),
    MANIFEST_CACHE_DIR: await temporaryFolder(),
  };
  const script = join(import.meta.dirname, 'service.py');
  const child = spawn(python, [script], { env, stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(child, 'exit');
  onTestFinished(async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
    await ended;
  });
  const observed: Observed = { served: [], answered: 0, failures: [], errors: [] };
  const lines = createInterface(child.stdout);
  lines.on('line', (line) => {
    const { served, answered, failure } = JSON.parse(line);
    if (served) observed.served.push(served);
    if (failure) observed.failures.push(failure);
    observed.answered = answered ?? observed.answered;
  });
  await Promise.race([once(lines, 'line'), ended]);
  return {
    name,
    observed,
    async stop() {
      child.kill('SIGTERM');
      await ended;
    },
  };
}
