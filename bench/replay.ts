import { join } from 'node:path';
import type { JsMsg } from '@nats-io/jetstream';
import { activate } from '../src/commands/activate.ts';
import type { Command, Context } from '../src/commands/command.ts';
import { publish } from '../src/commands/publish.ts';
import type { RegistryEvent } from '../src/domain/events.ts';
import { encodeEvent } from '../src/log/codec.ts';
import { connectNats, type Nats } from '../src/log/connection.ts';
import { findNatsServer } from '../src/log/embedded/binary.ts';
import { startNatsServer } from '../src/log/embedded/server.ts';
import { hashOf } from '../src/log/read.ts';
import { ensureStream, STREAM, subjectOf } from '../src/log/stream.ts';
import { startProjector } from '../src/projections/projector.ts';
import { createLogger } from '../src/telemetry.ts';
import { ModelInMemory } from '../test/support/model-in-memory.ts';
import { median, temporaryFolder } from './processes.ts';
import type { Result } from './result.ts';

const EVENTS = 100_000;
const MODELS = 20;
const ROUNDS = 5;
export const START = Date.parse('2026-01-01T00:00:00Z');

/** Compares 100,000 events into the read model, with chain checks, with an ordered consumer that only parses their JSON. */
export async function replay(): Promise<Result[]> {
  const log = createLogger('error');
  const { path: binary } = await findNatsServer({ progress: console.error });
  const server = await startNatsServer({ folder: join(await temporaryFolder(), '.nats'), binary, log });
  const nats = await connectNats({ servers: [server.url], user: server.user, pass: server.password }, 'bench');
  await ensureStream(nats);
  await filler(nats)(EVENTS);
  const parse: number[] = [];
  const fold: number[] = [];
  for (let round = 0; round <= ROUNDS; round++) {
    const parsed = await parseAll(nats);
    const folded = await foldAll(nats);
    if (round > 0) parse.push(EVENTS / parsed) && fold.push(EVENTS / folded);
  }
  await nats.nc.close();
  await server.close();
  const detail = `${Math.round(median(fold) * 1000)} events a second`;
  return [
    { name: 'replay / ordered consumer with JSON.parse', ratio: median(fold) / median(parse), aim: '≥ 0.6', detail },
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

/** Reads with the registry's tail into its read model. */
async function foldAll(nats: Nats): Promise<number> {
  const started = performance.now();
  const path = join(await temporaryFolder(), 'read-model.db');
  const projector = await startProjector({ nats, path, log: createLogger('error') });
  await projector.ready();
  const took = performance.now() - started;
  const { position, frozenModels } = projector.readModel;
  await projector.close();
  if (position.revision !== EVENTS || frozenModels.size > 0) throw new Error('not folded');
  return took;
}

/**
 * Writes two versions and then alternating activations for each model, by the rules and a second apart. Each call continues
 * up to this many events.
 */
export function filler(nats: Nats): (count: number) => Promise<void> {
  const models = Array.from({ length: MODELS }, (_, i) => new ModelInMemory(`model-${i}`));
  const context: Context = {
    now: '2026-01-01T00:00:00.000Z',
    environments: ['production', 'staging'],
    activationLimit: 0,
    missing: [],
    loaders: [],
  };
  const artifacts = [{ path: 'model.joblib', digest: `sha256:${'a'.repeat(64)}` as const, size: 1 }];
  let revision = 0;

  return async (count) => {
    let acks: Promise<unknown>[] = [];
    while (revision < count) {
      revision += 1;
      append(revision, acks);
      if (acks.length < 1000) continue;
      await Promise.all(acks);
      acks = [];
    }
    await Promise.all(acks);
  };

  function append(revision: number, acks: Promise<unknown>[]): void {
    const model = models[revision % MODELS]!;
    const turn = Math.floor((revision - 1) / MODELS);
    const version = turn % 2 === 0 ? '1.0.0' : '1.1.0';
    const draft =
      turn < 2
        ? decided(
            publish,
            model,
            { ...publish.input.parse({ version, artifacts, requires: {}, metrics: { turn } }) },
            context,
          )
        : decided(
            activate,
            model,
            { ...activate.input.parse({ version, reason: 'a reason of usual length' }) },
            context,
          );
    const event = {
      ...draft,
      model: model.name,
      id: crypto.randomUUID(),
      time: new Date(START + revision * 1000).toISOString(),
      actor: 'bench',
      request_id: 'bench',
    };
    const body = encodeEvent(event as RegistryEvent, model.head);
    acks.push(nats.js.publish(subjectOf(model.name), body, { timeout: 30_000 }));
    model.follow(event as RegistryEvent, revision, hashOf(body));
  }
}

function decided<I>(command: Command<I>, model: ModelInMemory, input: I, context: Context) {
  const decision = command.decide(model, input, context);
  if ('unchanged' in decision) throw new Error('nothing was decided');
  return decision.draft;
}
