import { setTimeout as sleep } from 'node:timers/promises';
import { JetStreamApiCodes, JetStreamApiError } from '@nats-io/jetstream';
import { errors } from '@nats-io/transport-node';
import { Problem } from '../domain/errors.ts';
import type { Nats } from './connection.ts';
import { readNext } from './read.ts';
import { MAX_EVENT_BYTES, STREAM, subjectOf } from './stream.ts';

/** `stored` at `revision`; or `conflict`, because another event of the model was stored first, at `revision`. */
export type Appended = { outcome: 'stored' | 'conflict'; revision: number };

const PUBLISH_TIMEOUT_MS = 2_000;
const READ_TIMEOUT_MS = 2_000;
const DEADLINE_MS = 8_000;

/**
 * Appends one event to a model if the model's last revision is `expected`.
 *
 * After a time-out the outcome is unknown: a paused server stores the message when it resumes. But the event can only be
 * stored as the *first* one after `expected`, so reading that message decides the outcome. If it is this event, it was
 * stored. If it is another event, this is a conflict. If there is no such message yet, it is safe to publish again. No
 * `Nats-Msg-Id` is used: replicated 2.10 streams answer "duplicate" for messages that they never stored.
 *
 * @throws {Problem} too-large; log-full; log-unavailable (nothing was stored); outcome-unknown
 */
export async function append(nats: Nats, model: string, expected: number, body: Uint8Array): Promise<Appended> {
  if (body.length > MAX_EVENT_BYTES) {
    throw new Problem('too-large', `The event has ${body.length} bytes; the limit is ${MAX_EVENT_BYTES}.`);
  }
  const deadline = Date.now() + DEADLINE_MS;
  let sent = false;
  do {
    const reply = await publish(nats, model, expected, body);
    if (typeof reply === 'number') return { outcome: 'stored', revision: reply };
    if (reply === 'full' && !sent) throw new Problem('log-full', 'The log cannot store the event: its disk is full.');
    sent ||= reply === 'unknown';
    if (reply !== 'unreachable') {
      const next = await nextOf(nats, model, expected);
      if (next) return { outcome: next.body.equals(body) ? 'stored' : 'conflict', revision: next.revision };
    }
    await sleep(50 + Math.random() * 200);
  } while (Date.now() < deadline && !nats.nc.isClosed());
  if (sent) throw new Problem('outcome-unknown', 'The log did not confirm whether the event was stored; retry.');
  throw new Problem('log-unavailable', 'The log cannot be reached; nothing was stored.');
}

/** The revision of the stored event, or why there is no acknowledgement. */
type Reply = number | 'conflict' | 'full' | 'unreachable' | 'unknown';

async function publish({ js }: Nats, model: string, expected: number, body: Uint8Array): Promise<Reply> {
  try {
    // A new object for every attempt: the client writes its headers into it.
    const expect = { lastSubjectSequence: expected, streamName: STREAM };
    const ack = await js.publish(subjectOf(model), body, { expect, timeout: PUBLISH_TIMEOUT_MS });
    return ack.seq;
  } catch (error) {
    return replyFrom(error);
  }
}

const CONFLICTS: number[] = [
  JetStreamApiCodes.StreamWrongLastSequence,
  // Another write to the subject is still in flight on the leader of a replicated stream.
  JetStreamApiCodes.StreamWrongLastSequenceUnknown,
];
// Insufficient resources; storage exceeded; and a failure of the store itself, which is how ENOSPC is reported.
const FULL = [10023, 10047, 10077];

function replyFrom(error: unknown): Reply {
  if (isConflict(error)) return 'conflict';
  if (error instanceof JetStreamApiError) return FULL.includes(error.code) ? 'full' : 'unknown';
  const closed = error instanceof errors.ClosedConnectionError || error instanceof errors.DrainingConnectionError;
  return closed || isNoResponders(error) ? 'unreachable' : 'unknown';
}

/** Whether NATS refused a message because of another write to its subject. */
export function isConflict(error: unknown): boolean {
  return error instanceof JetStreamApiError && CONFLICTS.includes(error.code);
}

/** A stream without a leader has no responders; the client wraps that error as "JetStream is not enabled". */
export function isNoResponders(error: unknown): boolean {
  const request = error instanceof Error ? (error.cause ?? error) : error;
  return request instanceof errors.RequestError && request.isNoResponders();
}

/** The model's first message after `expected`; null if there is none, or if it cannot be read now. */
async function nextOf(nats: Nats, model: string, expected: number): Promise<{ revision: number; body: Buffer } | null> {
  try {
    // Shorter than the client's own time-out: a server that does not answer must not extend the deadline.
    const timeout = sleep(READ_TIMEOUT_MS, null, { ref: false });
    const next = await Promise.race([readNext(nats, model, expected), timeout]);
    return next && { revision: next.revision, body: Buffer.from(next.body) };
  } catch {
    return null;
  }
}
