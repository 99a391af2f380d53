import type { JsMsg } from '@nats-io/jetstream';
import { z } from 'zod';
import type { ActiveMap } from '../domain/events.ts';
import type { Nats } from './connection.ts';
import { compareLog, type LogPosition, START } from './identity.ts';
import { hashOf, type LogMessage, readHash, readLast } from './read.ts';
import { modelOf, readHead, STREAM, subjectOf } from './stream.ts';
import { lost, type RoundEnd, rejectionOf, supervise, type Tail, type TailState } from './supervise.ts';

/** Who follows one model. All calls are synchronous. */
export interface ModelFollower {
  /** How far it has followed; the beginnings of both hashes are enough. */
  position(): LogPosition | null;
  /** The model's newest message that is known, null for none; those before it may not have been told. */
  last(message: LogMessage | null, position: LogPosition): void;
  state(state: TailState, why?: unknown): void;
}

/**
 * Follows one model: its last message, which says what is active, and then its tail, for ever. Revisions of one subject
 * have gaps, so it is the chain that tells whether a message was missed; if so, it starts over from the last one.
 */
export function followModel(nats: Nats, model: string, follower: ModelFollower): Tail {
  return supervise(nats, (over) => followOnce(nats, model, follower, over), follower.state);
}

async function followOnce(nats: Nats, model: string, follower: ModelFollower, over: AbortSignal): Promise<RoundEnd> {
  const aborted = rejectionOf(over);
  const whileWanted = <T>(asked: Promise<T>) => Promise.race([aborted, asked]);
  const head = await whileWanted(readHead(nats));
  if ((await whileWanted(compareLog(nats, head, follower.position() ?? START))) === 'diverged') {
    return { diverged: true, progressed: false };
  }
  const last = await whileWanted(readLast(nats, model));
  const epoch = await whileWanted(readHash(nats, 1));
  let position: LogPosition = { generation: head.generation, epoch, revision: 0, hash: null };
  const tell = (message: LogMessage) => {
    position = { ...position, revision: message.revision, hash: hashOf(message.body) };
    follower.last(message, position);
  };
  if (last) tell(last);
  else follower.last(null, position);

  // Fresh options each time: the client writes into them. One filter as a text: as a list, 2.10 crawls.
  const start = { opt_start_seq: (last?.revision ?? 0) + 1, inactive_threshold: 30_000 };
  const consumer = await whileWanted(nats.js.consumers.get(STREAM, { ...start, filter_subjects: subjectOf(model) }));
  const missed = Promise.withResolvers<void>();
  const callback = (m: JsMsg): void => {
    if (over.aborted || m.seq <= position.revision) return;
    // An empty log gets its epoch with its first message, which may be another model's.
    if (position.epoch === null && m.seq === 1) position.epoch = hashOf(m.data);
    const follows = position.hash === null || previousHash(m.data) === position.hash;
    if (!follows || position.epoch === null) missed.resolve();
    else tell({ revision: m.seq, model: modelOf(m.subject), body: m.data });
  };
  const consuming = consumer.consume({ callback, expires: 5_000 });
  consuming.then(
    (late) => over.aborted && late.stop(),
    () => {},
  );
  const messages = await whileWanted(consuming);
  follower.state('live');
  try {
    const why = await Promise.race([aborted, missed.promise, lost(messages), messages.closed()]);
    if (why instanceof Error) throw why;
  } finally {
    messages.stop();
  }
  return { diverged: false, progressed: true };
}

const Told = z.object({
  prevhash: z.string().optional(),
  requestid: z.string().optional(),
  data: z.object({ active: z.custom<ActiveMap>() }),
});

/**
 * What is active after an event, in every environment. Any event says so, whatever its type or version; where it moved an
 * environment, `revision` is the event's own, and so is `request_id`.
 *
 * @throws {Error} for a body that is no event
 */
export function activeAfter({ revision, body }: LogMessage) {
  const { data, requestid: request_id } = Told.parse(JSON.parse(new TextDecoder().decode(body)));
  const entries = Object.entries(data.active).map(([name, pointer]) => {
    const own = pointer?.revision === undefined ? { revision, request_id } : {};
    return [name, pointer && { ...own, ...pointer }] as const;
  });
  return Object.fromEntries(entries);
}

function previousHash(body: Uint8Array): string | undefined {
  try {
    return Told.parse(JSON.parse(new TextDecoder().decode(body))).prevhash;
  } catch {
    return undefined;
  }
}
