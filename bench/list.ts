import { type Filled, filled, type Kind } from './filled.ts';
import { INVALID_FILTER, type List, lists } from './lists.ts';
import { asker } from './load.ts';
import { quantile } from './processes.ts';
import type { Result } from './result.ts';
import { type Delay, type Stalls, watchStalls } from './stalls.ts';
import { startOn } from './started.ts';

const REQUESTS = 300;
const WARM_UP = 20;
/** A list that is slower than its aim is asked less often. */
const MAX_MS = 6_000;
const AIM_MS = 5;
const STALL_MS = 20;
const MAX_PAGE_SIZE = 1_000;

type Ask = ReturnType<typeof asker>['ask'];
type Page = Record<string, unknown> & { next_page_token: string | null };

/**
 * Measures each list of large registries: one request after the other on one connection, with small requests beside them
 * that show the delay of the event loop.
 */
export async function list(): Promise<Result[]> {
  const results: Result[] = [];
  for (const kind of ['events', 'versions', 'one'] as const) results.push(...(await listsOf(kind)));
  return results;
}

async function listsOf(kind: Kind): Promise<Result[]> {
  const registry = await filled(kind);
  // The files of 100,000 versions are measured by `start`; the lists do not depend on them.
  const server = await startOn(registry.volume, kind === 'one' ? { REGISTRY_VOLUME_VERSIONS: 'active' } : {});
  console.error(`${registry.title}: started after ${(server.complete / 1000).toFixed(1)} s`);
  const stalls = await watchStalls(server.url);
  const { ask, end } = asker(server.url, server.headers);
  try {
    const measured: Measured[] = [];
    for (const list of lists[kind]) measured.push(...(await measure(ask, list, stalls.during)));
    const results = measured.map((each) => resultOf(registry, each));
    return measured.length > 0 ? [...results, worst(registry, measured, stalls.idle)] : results;
  } finally {
    end();
    await stalls.end();
    await server.stop();
  }
}

interface Measured {
  list: List;
  times: number[];
  /** Of the event loop. */
  delay: Delay;
  /** The entries of the first page. */
  size: number;
}

/** Measures a list; returns nothing if the server does not have it. */
async function measure(ask: Ask, list: List, during: Stalls['during']): Promise<Measured[]> {
  const path = await pathOf(ask, list);
  if (path === null) return [];
  for (let n = 0; n < WARM_UP; n++) await ask('GET', path(n));
  let times: number[] = [];
  const delay = await during(async () => {
    times = await timesOf(ask, path);
  });
  const size = entriesOf(await pageAt(ask, path(0))).length;
  console.error(`${list.name}: ${paceOf(times)}, ${size} entries`);
  return [{ list, times, delay, size }];
}

/** Returns the address of each request; null if the server has no such list. */
async function pathOf(ask: Ask, { name, path, deep, searches }: List): Promise<List['path'] | null> {
  const { status, body } = await ask('GET', path(0));
  const ignored = searches && (await ask('GET', INVALID_FILTER)).status === 200;
  if (ignored || status === 400 || status === 404) {
    console.error(`skipped: ${name} (this server does not know ${path(0)})`);
    return null;
  }
  if (status !== 200) throw new Error(`${status} ${body.toString('utf8', 0, 200)}`);
  if (!deep) return path;
  const token = await tokenAfter(ask, path(0), deep);
  return () => `${path(0)}&page_token=${token}`;
}

/** Returns the token of the page after this many entries. */
async function tokenAfter(ask: Ask, path: string, count: number): Promise<string> {
  const large = path.replace('page_size=100', `page_size=${Math.min(count, MAX_PAGE_SIZE)}`);
  let token: string | null = null;
  for (let passed = 0; passed < count; ) {
    const page: Page = await pageAt(ask, token === null ? large : `${large}&page_token=${token}`);
    token = page.next_page_token;
    if (token === null) throw new Error(`${path} has less than ${count} entries`);
    passed += entriesOf(page).length;
  }
  return token!;
}

function entriesOf(page: Page): unknown[] {
  return Object.values(page).find(Array.isArray) ?? [];
}

async function pageAt(ask: Ask, path: string): Promise<Page> {
  return JSON.parse((await ask('GET', path)).body.toString());
}

async function timesOf(ask: Ask, path: List['path']): Promise<number[]> {
  const times: number[] = [];
  const until = performance.now() + MAX_MS;
  for (let n = 0; n < REQUESTS && performance.now() < until; n++) {
    const { status, ms } = await ask('GET', path(n));
    if (status !== 200) throw new Error(`${status} for ${path(n)}`);
    times.push(ms);
  }
  return times;
}

function paceOf(times: number[]): string {
  const rate = (times.length / times.reduce((sum, ms) => sum + ms, 0)) * 1000;
  const [p99, middle] = [0.99, 0.5].map((share) => quantile(times, share).toFixed(2));
  return `p99 ${p99} ms, median ${middle} ms, ${Math.round(rate)} a second`;
}

function resultOf({ title }: Filled, { list, times, delay, size }: Measured): Result {
  const { name, aim = AIM_MS } = list;
  return {
    name: `list p99 / ${aim} ms: ${name}; ${title}`,
    ratio: quantile(times, 0.99) / aim,
    aim: '≤ 1',
    detail: `${paceOf(times)}, ${size} entries; others wait ${delay.max.toFixed(1)} ms at most`,
  };
}

/** The list during which the event loop was delayed longest. */
function worst({ title }: Filled, measured: Measured[], idle: Delay): Result {
  const { list, delay } = measured.reduce((one, other) => (other.delay.max > one.delay.max ? other : one));
  const during = `${delay.max.toFixed(1)} ms during "${list.name}" (p99 ${delay.p99.toFixed(1)})`;
  return {
    name: `longest delay of the event loop by a list / ${STALL_MS} ms; ${title}`,
    ratio: delay.max / STALL_MS,
    aim: '≤ 1',
    detail: `${during}, without lists ${idle.max.toFixed(1)} ms`,
  };
}
