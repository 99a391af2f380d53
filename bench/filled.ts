import { createHash, randomBytes } from 'node:crypto';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { connectNats } from '../src/log/connection.ts';
import { ensureStream } from '../src/log/stream.ts';
import { activations, eventsFor, filler, type Plan, versions } from './fill.ts';
import { startPlainServer } from './plain-nats.ts';
import { temporaryFolder } from './processes.ts';

const EVENTS = 1_000_000;
const VERSIONS = 100_000;
const MODELS = 1_000;
const BLOBS = 8;
const BLOB_BYTES = 4_096;

type Blob = Awaited<ReturnType<typeof writeBlob>>;

/** The large registries that are measured. */
const kinds = {
  events: {
    title: '1,000,000 events, 1,000 models',
    events: EVENTS,
    plan: ([blob]: Blob[]) => activations(MODELS, [{ path: 'model.joblib', ...blob! }]),
  },
  versions: {
    title: '100,000 versions, 1,000 models',
    events: eventsFor(VERSIONS),
    plan: (blobs: Blob[]) => versions(MODELS, blobs),
  },
  one: {
    title: '100,000 versions, one model',
    events: eventsFor(VERSIONS),
    plan: (blobs: Blob[]) => versions(1, blobs),
  },
} satisfies Record<string, { title: string; events: number; plan(blobs: Blob[]): Plan }>;

export type Kind = keyof typeof kinds;

export interface Filled {
  title: string;
  /** A volume with blobs and a log. What a server made of them on it stays for the next measurement. */
  volume: string;
  events: number;
}

const made = new Map<Kind, Promise<Filled>>();

/** Returns a large registry's volume. It is filled at the first call: about a minute for a million events. */
export function filled(kind: Kind): Promise<Filled> {
  const known = made.get(kind) ?? fill(kind);
  made.set(kind, known);
  return known;
}

/** Deletes what `filled` made. */
export async function removeFilled(): Promise<void> {
  for (const filling of made.values()) await rm((await filling).volume, { recursive: true });
  made.clear();
}

/** The folder of the embedded nats-server's store. */
export function storeOf(volume: string): string {
  return join(volume, '.nats', 'store');
}

async function fill(kind: Kind): Promise<Filled> {
  const { title, events, plan } = kinds[kind];
  const volume = await temporaryFolder();
  const blobs: Blob[] = [];
  for (let i = 0; i < BLOBS; i++) blobs.push(await writeBlob(volume));
  await mkdir(storeOf(volume), { recursive: true, mode: 0o700 });
  const started = performance.now();
  const server = await startPlainServer(storeOf(volume));
  const nats = await connectNats({ servers: [server.url] }, 'bench');
  await ensureStream(nats);
  await filler(nats, plan(blobs))(events);
  await nats.nc.close();
  await server.close();
  console.error(`filled: ${title}, in ${((performance.now() - started) / 1000).toFixed(0)} s`);
  return { title, volume, events };
}

/** Writes random bytes where the volume keeps its blobs. */
async function writeBlob(volume: string) {
  const bytes = randomBytes(BLOB_BYTES);
  const hex = createHash('sha256').update(bytes).digest('hex');
  const folder = join(volume, 'blobs', 'sha256');
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, hex), bytes, { mode: 0o444 });
  return { digest: `sha256:${hex}` as const, size: BLOB_BYTES };
}
