import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { JsMsg } from '@nats-io/jetstream';
import { connectNats, type Nats } from '../src/log/connection.ts';
import { findNatsServer } from '../src/log/embedded/binary.ts';
import { startNatsServer } from '../src/log/embedded/server.ts';
import { ensureStream, STREAM } from '../src/log/stream.ts';
import { startProjector } from '../src/projections/projector.ts';
import { createLogger } from '../src/telemetry.ts';
import { activations, filler } from './fill.ts';
import { median, temporaryFolder } from './processes.ts';
import type { Result } from './result.ts';

const EVENTS = 100_000;
const MODELS = 20;
const ROUNDS = 5;

/** Compares 100,000 events into the read model, with chain checks, with an ordered consumer that only parses their JSON. */
export async function replay(): Promise<Result[]> {
  const log = createLogger('error');
  const volume = await temporaryFolder();
  const { path: binary } = await findNatsServer({ progress: console.error });
  const server = await startNatsServer({ folder: join(volume, '.nats'), binary, log });
  const nats = await connectNats({ servers: [server.url], user: server.user, pass: server.password }, 'bench');
  await ensureStream(nats);
  await filler(nats, activations(MODELS))(EVENTS);
  const parse: number[] = [];
  const fold: number[] = [];
  for (let round = 0; round <= ROUNDS; round++) {
    const parsed = await parseAll(nats);
    const folded = await foldAll(nats, join(volume, `read-model-${round}.db`));
    if (round > 0) parse.push(EVENTS / parsed) && fold.push(EVENTS / folded);
  }
  await nats.nc.close();
  await server.close();
  await rm(volume, { recursive: true });
  const detail = `${Math.round(median(fold) * 1000)} events a second`;
  return [
    { name: 'replay / ordered consumer with JSON.parse', ratio: median(fold) / median(parse), aim: '≥ 0.5', detail },
  ];
}

/** Returns how long an ordered consumer takes to parse this many events, in ms. */
export async function parseAll(nats: Nats, count = EVENTS): Promise<number> {
  const started = performance.now();
  const consumer = await nats.js.consumers.get(STREAM, { opt_start_seq: 1 });
  const done = Promise.withResolvers<void>();
  const decoder = new TextDecoder();
  const callback = (m: JsMsg) => {
    JSON.parse(decoder.decode(m.data));
    if (m.seq === count) done.resolve();
  };
  const messages = await consumer.consume({ max_messages: 2_000, callback });
  await done.promise;
  messages.stop();
  return performance.now() - started;
}

/** Reads with the registry's tail into a new read model. */
async function foldAll(nats: Nats, path: string): Promise<number> {
  const started = performance.now();
  const projector = await startProjector({ nats, path, log: createLogger('error') });
  await projector.ready();
  const took = performance.now() - started;
  const { position, frozenModels } = projector.readModel;
  await projector.close();
  if (position.revision !== EVENTS || frozenModels.size > 0) throw new Error('not folded');
  return took;
}
