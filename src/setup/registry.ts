import { clientTokens } from '../access/client-token.ts';
import { Liveness } from '../api/health.ts';
import type { IdentityView } from '../api/identity.ts';
import type { Page } from '../api/page.ts';
import type { ModelView } from '../api/views.ts';
import type { RegistryClient } from '../client/client.ts';
import type { ClientConfig } from '../config.ts';
import { Problem } from '../domain/errors.ts';
import { type FleetView, hasFailed, type LoaderView } from '../domain/fleet.ts';
import { reasonOf, sentenceOf } from '../files/system-error.ts';
import { version } from '../version.ts';
import { type Check, isWrong, listed, ok, skipped, warning, wrong } from './check.ts';
import { checkReadiness } from './readiness.ts';

const TIMEOUT_MS = 5_000;
const MAX_CLOCK_DIFFERENCE_S = 5;
const MAX_MODELS = 1000;

/** Creates a client with the configured credential. */
export type Connect = (config: ClientConfig) => RegistryClient;

/** Checks a running registry, the configured token and the loaders. */
export async function* checkRegistry(config: ClientConfig, connect: Connect): AsyncGenerator<Check> {
  const { REGISTRY_DSN: dsn } = config;
  const reached = await checkReached('registry', dsn, 'Start it with "signalbox serve", or correct REGISTRY_DSN.');
  yield reached;
  if (isWrong(reached)) {
    yield skipped('token', 'Only a running registry can check it.');
    return;
  }
  try {
    yield* await checkState(config);
  } catch (error) {
    yield wrong('registry', `${dsn} stopped answering: ${reasonOf(error)}.`, 'Check the log lines of the registry.');
    return;
  }
  yield* checkCaller(config, connect);
}

/** Checks that a Signalbox answers at an address. */
export async function checkReached(name: string, url: string, remedy: string): Promise<Check> {
  try {
    const { status, json } = await get(url, '/healthz');
    if (status === 200 && Liveness.safeParse(json).success) return ok(name, `${url} answers`);
    return wrong(name, `${url} answered ${status}, but not as a registry does.`, remedy);
  } catch (error) {
    return wrong(name, `${url} does not answer: ${reasonOf(error)}.`, remedy);
  }
}

async function checkState(config: ClientConfig): Promise<Check[]> {
  const { REGISTRY_DSN: dsn } = config;
  const openApi = await get(dsn, '/openapi.json');
  // Every caller may read this; the details of problems need a token that may read every model.
  const token = await tokenFrom(config);
  const readiness = await get(dsn, '/readyz', typeof token === 'string' ? { Authorization: `Bearer ${token}` } : {});
  const clock = checkClock(readiness.date, Date.now());
  return [checkVersion(openApi.json), clock, ...checkReadiness(readiness.json)];
}

interface Answer {
  status: number;
  /** The time of the server in ms since 1970; NaN if the response has no date. */
  date: number;
  json: unknown;
}

async function get(dsn: string, path: string, headers: Record<string, string> = {}): Promise<Answer> {
  const response = await fetch(dsn.replace(/\/$/, '') + path, { headers, signal: AbortSignal.timeout(TIMEOUT_MS) });
  const json: unknown = await response.json().catch(() => null);
  return { status: response.status, date: Date.parse(response.headers.get('date') ?? ''), json };
}

function checkVersion(openApi: unknown): Check {
  const theirs = (openApi as { info?: { version?: unknown } } | null)?.info?.version;
  if (theirs === version) return ok('version', `Signalbox ${version} on both sides`);
  const remedy = 'Upgrade the older one.';
  return warning('version', `The registry is Signalbox ${theirs}, this command line is ${version}.`, remedy);
}

function checkClock(theirs: number, ours: number): Check {
  if (Number.isNaN(theirs)) return skipped('clock', 'The response of the registry has no date.');
  // The header has whole seconds only.
  const seconds = Math.round((ours - theirs) / 1000);
  if (Math.abs(seconds) <= MAX_CLOCK_DIFFERENCE_S) return ok('clock', 'the registry’s clock agrees with this one');
  const remedy = 'Run NTP on both machines: the validity of tokens depends on the clock.';
  return warning(
    'clock',
    `The registry’s clock is ${Math.abs(seconds)} s ${seconds > 0 ? 'behind' : 'ahead'}.`,
    remedy,
  );
}

async function* checkCaller(config: ClientConfig, connect: Connect): AsyncGenerator<Check> {
  const token = config.REGISTRY_SIGNING_KEY === undefined ? await tokenFrom(config) : null;
  if (token instanceof Problem) {
    yield skipped('token', `${token.message} Set REGISTRY_TOKEN to check it.`);
    return;
  }
  try {
    const client = connect(config);
    const { actor, permissions } = await call<IdentityView>(client, '/api/identity');
    yield ok('token', `${actor} may ${permissions.join(', ') || 'do nothing'}`);
    yield permissions.includes('read') ? await checkLoaders(client) : skipped('loaders', `${actor} may not read.`);
  } catch (error) {
    const remedy = 'Set REGISTRY_TOKEN to a token from "signalbox token" or a key from "signalbox key create".';
    yield wrong('token', sentenceOf(error), remedy);
  }
}

/** Returns the token to send, or the problem if there is no token. */
async function tokenFrom(config: ClientConfig): Promise<string | Problem> {
  try {
    return await clientTokens(config)();
  } catch (error) {
    if (error instanceof Problem) return error;
    throw error;
  }
}

function call<T>(client: RegistryClient, path: string, query = {}): Promise<T> {
  return client.call<T>('GET', path, { query, signal: AbortSignal.timeout(TIMEOUT_MS) });
}

async function checkLoaders(client: RegistryClient): Promise<Check> {
  const { models } = await call<Page<'models', ModelView>>(client, '/api/models', { page_size: MAX_MODELS });
  const all: LoaderView[] = [];
  for (const { model } of models) {
    all.push(...(await call<FleetView>(client, `/api/models/${encodeURIComponent(model)}/loaders`)).loaders);
  }
  const failed = all.filter(hasFailed);
  const remedy = 'See "signalbox loaders", and docs/loaders.md, "States".';
  if (failed.length > 0) return wrong('loaders', `${failed.length} of ${all.length} failed: ${named(failed)}.`, remedy);
  const stale = all.filter((loader) => loader.stale);
  if (stale.length > 0) return warning('loaders', `${stale.length} of ${all.length} stale: ${named(stale)}.`, remedy);
  return ok('loaders', `${all.length} running, none failed or stale`);
}

function named(loaders: LoaderView[]): string {
  return listed(
    loaders.map(({ model, instance, state, error }) => `${instance} of ${model} (${error?.message ?? state})`),
  );
}
