import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { connectNats } from '../src/log/connection.ts';
import { streamInfo } from '../src/log/stream.ts';
import { type Filled, filled, type Kind, storeOf } from './filled.ts';
import { startPlainServer } from './plain-nats.ts';
import { parseAll } from './replay.ts';
import type { Result } from './result.ts';
import { type Started, startOn } from './started.ts';

const WARM_MS = 2_000;
const PEAK_BYTES = 350 * 1024 ** 2;

type Start = Omit<Started, 'stop' | 'url' | 'headers'>;

/**
 * Measures starts of the server on large registries: on a log and blobs only, on all that the last run left, without the
 * read model, and without the files of the versions. The bare parts are nats-server alone and an ordered consumer that
 * parses the log.
 */
export async function start(): Promise<Result[]> {
  return [...(await startsOf('events')), ...(await startsOf('versions'))];
}

async function startsOf(kind: Kind): Promise<Result[]> {
  const registry = await filled(kind);
  const { volume } = registry;
  const before = await bareParts(registry);
  await removeFiles(volume);
  await removeReadModel(volume);
  const first = await startOnce('the first start', registry);
  const warm = await startOnce('a warm start', registry);
  // Without a file of it, the read model is rebuilt at every start.
  const rebuild = (await removeReadModel(volume)) ? await startOnce('without the read model', registry) : warm;
  await removeFiles(volume);
  const empty = await startOnce('without files of versions', registry);
  const after = await bareParts(registry);
  // The faster run: what else the machine does can only slow it down.
  const bare = { nats: Math.min(before.nats, after.nats), parse: Math.min(before.parse, after.parse) };
  return resultsOf(registry, bare, { first, warm, rebuild, empty });
}

interface Bare {
  nats: number;
  parse: number;
}

/** Returns how long nats-server alone takes until its stream answers, and a consumer to parse all events, in ms. */
async function bareParts({ title, volume, events }: Filled): Promise<Bare> {
  const started = performance.now();
  const server = await startPlainServer(storeOf(volume));
  const nats = await connectNats({ servers: [server.url] }, 'bench');
  await streamInfo(nats.jsm);
  const ready = performance.now() - started;
  const parse = await parseAll(nats, events);
  await nats.nc.close();
  await server.close();
  console.error(`${title}: nats-server alone ${seconds(ready)}, an ordered consumer ${seconds(parse)}`);
  return { nats: ready, parse };
}

async function startOnce(how: string, { title, volume }: Filled): Promise<Start> {
  const { answered, complete, peak, stop } = await startOn(volume);
  await stop();
  console.error(`${title}, ${how}: ${times({ answered, complete, peak })}`);
  return { answered, complete, peak };
}

function resultsOf(
  { title, events }: Filled,
  bare: Bare,
  { first, warm, rebuild, empty }: Record<'first' | 'warm' | 'rebuild' | 'empty', Start>,
): Result[] {
  // The consumer's time does not include that nats-server starts.
  const reading = Math.max(rebuild.answered - bare.nats, 1);
  const rate = Math.round((events / reading) * 1000);
  const named = (name: string) => `${name}; ${title}`;
  const within = (what: string, start: Start): Result => ({
    name: named(`${what} until GET active is answered / 2 s`),
    ratio: start.answered / WARM_MS,
    aim: '≤ 1',
    detail: `${times(start)}; nats-server alone ${seconds(bare.nats)}`,
  });
  return [
    within('warm start', warm),
    within('start without the files of versions', empty),
    {
      name: named('ordered consumer with JSON.parse / start without a read model'),
      ratio: bare.parse / reading,
      aim: '≥ 0.5',
      detail: `${times(rebuild)}; ${rate} events a second; the consumer ${seconds(bare.parse)}; on log and blobs only ${times(first)}`,
    },
    {
      name: named('peak resident memory of a warm start / 350 MiB'),
      ratio: warm.peak / PEAK_BYTES,
      aim: '≤ 1',
      detail: `${mebibytes(warm.peak)}; without the read model ${mebibytes(rebuild.peak)}, on log and blobs only ${mebibytes(first.peak)}`,
    },
  ];
}

/** Deletes the files that the volume projects from the log. */
async function removeFiles(volume: string): Promise<void> {
  for (const name of ['models', 'versions', 'latest', 'active']) {
    await rm(join(volume, name), { recursive: true, force: true });
  }
}

/** Deletes the read model; returns whether there was one. */
async function removeReadModel(volume: string): Promise<boolean> {
  const folder = join(volume, '.signalbox');
  const names = await readdir(folder).catch(() => []);
  const files = names.filter((name) => name.startsWith('read-model.db'));
  for (const name of files) await rm(join(folder, name));
  return files.length > 0;
}

function times({ answered, complete, peak }: Start): string {
  return `${seconds(answered)}, volume complete after ${seconds(complete)}, ${mebibytes(peak)}`;
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(2)} s`;
}

function mebibytes(bytes: number): string {
  return `${Math.round(bytes / 1024 ** 2)} MiB`;
}
