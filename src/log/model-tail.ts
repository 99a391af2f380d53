import type { JsMsg } from '@nats-io/jetstream';
import { z } from 'zod';
import type { ActiveMap } from '../domain/events.ts';
import type { Nats } from './connection.ts';
import { compareLog, type LogPosition, START } from './identity.ts';
import { hashOf, type LogMessage, readHash, readLast } from './read.ts';
import { modelOf, readHead, STREAM, subjectOf } from './stream.ts';
import { type RoundEnd, rejectOnAbort, supervise, type Tail, type TailState, untilEnded } from './supervise.ts';

/** Callbacks of a tail of one model. All calls are synchronous. */
export interface ModelListener {
  /** The last position that was read, or null; the first characters of its hashes are enough. */
  position(): LogPosition | null;
  /** Called with the model's newest message, or null if it has no messages. Older messages may be skipped. */
  last(message: LogMessage | null, position: LogPosition): void;
  state(state: TailState, why?: unknown): void;
}

/**
 * Reads one model's last message, which states what is active, and then every new one, until closed. The revisions of one
 * subject have gaps, so a missed message shows only in the hash chain. After one, the tail starts again from the model's
 * last message. See `tailLog` for the tail of the whole log.
 */
export function tailModel(nats: Nats, model: string, listener: ModelListener): Tail {
  return supervise(nats, (signal) => readRound(nats, model, listener, signal), listener.state);
}

async function readRound(nats: Nats, model: string, listener: ModelListener, signal: AbortSignal): Promise<RoundEnd> {
  const aborted = rejectOnAbort(signal);
  const unlessAborted = <T>(request: Promise<T>) => Promise.race([aborted, request]);
  const head = await unlessAborted(readHead(nats));
  if ((await unlessAborted(compareLog(nats, head, listener.position() ?? START))) === 'diverged') {
    return { diverged: true, progressed: false };
  }
  const last = await unlessAborted(readLast(nats, model));
  const epoch = await unlessAborted(readHash(nats, 1));
  let position: LogPosition = { generation: head.generation, epoch, revision: 0, hash: null };
  const passOn = (message: LogMessage) => {
    position = { ...position, revision: message.revision, hash: hashOf(message.body) };
    listener.last(message, position);
  };
  if (last) passOn(last);
  else listener.last(null, position);

  // A new object every time: the client writes into it. The filter is a string: with an array, 2.10 reads very slowly.
  const start = { opt_start_seq: (last?.revision ?? 0) + 1, inactive_threshold: 30_000 };
  const consumer = await unlessAborted(nats.js.consumers.get(STREAM, { ...start, filter_subjects: subjectOf(model) }));
  const missed = Promise.withResolvers<void>();
  const callback = (m: JsMsg): void => {
    if (signal.aborted || m.seq <= position.revision) return;
    // The first message of an empty log sets its epoch, and may belong to another model.
    if (position.epoch === null && m.seq === 1) position.epoch = hashOf(m.data);
    const follows = position.hash === null || previousHash(m.data) === position.hash;
    if (!follows || position.epoch === null) missed.resolve();
    else passOn({ revision: m.seq, model: modelOf(m.subject), body: m.data });
  };
  // If the round is aborted before this resolves, `untilEnded` does not run and cannot stop the messages.
  const consuming = consumer.consume({ callback, expires: 5_000 });
  consuming.then(
    (messages) => signal.aborted && messages.stop(),
    () => {},
  );
  const messages = await unlessAborted(consuming);
  listener.state('live');
  await untilEnded(messages, aborted, missed.promise);
  return { diverged: false, progressed: true };
}

/** The fields of an event that are read here. They are the same in every type and version. */
const EventFields = z.object({
  prevhash: z.string().optional(),
  requestid: z.string().optional(),
  data: z.object({ active: z.custom<ActiveMap>() }),
});

function fieldsOf(body: Uint8Array) {
  return EventFields.parse(JSON.parse(new TextDecoder().decode(body)));
}

/**
 * Returns what is active in every environment after an event of any type or version. For an environment that the event
 * itself moved, `revision` and `request_id` are those of the event.
 *
 * @throws {Error} if the body is not an event
 */
export function activeAfter({ revision, body }: LogMessage) {
  const { data, requestid: request_id } = fieldsOf(body);
  const entries = Object.entries(data.active).map(([name, pointer]) => {
    const own = pointer?.revision === undefined ? { revision, request_id } : {};
    return [name, pointer && { ...own, ...pointer }] as const;
  });
  return Object.fromEntries(entries);
}

function previousHash(body: Uint8Array): string | undefined {
  try {
    return fieldsOf(body).prevhash;
  } catch {
    return undefined;
  }
}
