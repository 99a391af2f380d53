import { setTimeout as sleep } from 'node:timers/promises';
import { JetStreamApiCodes, JetStreamApiError } from '@nats-io/jetstream';
import { errors } from '@nats-io/transport-node';
import { Problem } from '../domain/errors.ts';
import type { Nats } from './connection.ts';
import { readNext } from './read.ts';
import { MAX_EVENT_BYTES, STREAM, subjectOf } from './stream.ts';

/** `stored` at a revision, or refused because another event of the model came first, at `revision`. */
export type Appended = { outcome: 'stored' | 'conflict'; revision: number };

const PUBLISH_TIMEOUT_MS = 2_000;
const READ_TIMEOUT_MS = 2_000;
const DEADLINE_MS = 8_000;

/**
 * Appends one event to a model, if the model's last revision is `expected`.
 *
 * A time-out says nothing: a paused server stores the message when it wakes. But with an exact expectation our event can
 * only ever be the *first* one after `expected`, so that message decides: ours, another's, or none yet, and then the
 * same event may safely be sent again. No `Nats-Msg-Id`: replicated 2.10 streams answer "duplicate" for messages they
 * never stored.
 *
 * @throws {Problem} too-large; log-full; log-unavailable (nothing was stored); outcome-unknown
 */
export async function append(nats: Nats, model: string, expected: number, body: Uint8Array): Promise<Appended> {
  if (body.length > MAX_EVENT_BYTES) {
    throw new Problem('too-large', `The event would have ${body.length} bytes; ${MAX_EVENT_BYTES} is the most.`);
  }
  const deadline = Date.now() + DEADLINE_MS;
  let sent = false;
  do {
    const answer = await publish(nats, model, expected, body);
    if (typeof answer === 'number') return { outcome: 'stored', revision: answer };
    if (answer === 'full' && !sent) throw new Problem('log-full', 'The log takes no more events: its disk is full.');
    sent ||= answer === 'unknown';
    if (answer !== 'unreachable') {
      const next = await nextOf(nats, model, expected);
      if (next) return { outcome: next.body.equals(body) ? 'stored' : 'conflict', revision: next.revision };
    }
    await sleep(50 + Math.random() * 200);
  } while (Date.now() < deadline && !nats.nc.isClosed());
  if (sent) throw new Problem('outcome-unknown', 'The log did not say whether the event was stored; ask again.');
  throw new Problem('log-unavailable', 'The log cannot be reached; nothing was stored.');
}

type Answer = number | 'conflict' | 'full' | 'unreachable' | 'unknown';

async function publish({ js }: Nats, model: string, expected: number, body: Uint8Array): Promise<Answer> {
  try {
    // The client writes its headers into the object it is given, so every attempt has fresh ones.
    const expect = { lastSubjectSequence: expected, streamName: STREAM };
    const ack = await js.publish(subjectOf(model), body, { expect, timeout: PUBLISH_TIMEOUT_MS });
    return ack.seq;
  } catch (error) {
    return answerOf(error);
  }
}

const CONFLICTS: number[] = [
  JetStreamApiCodes.StreamWrongLastSequence,
  // A write of the subject is still in flight on the leader of a replicated stream.
  JetStreamApiCodes.StreamWrongLastSequenceUnknown,
];
// Insufficient resources, storage exceeded, and the store's own failure, which is how ENOSPC arrives.
const FULL = [10023, 10047, 10077];

function answerOf(error: unknown): Answer {
  if (error instanceof JetStreamApiError) {
    if (CONFLICTS.includes(error.code)) return 'conflict';
    return FULL.includes(error.code) ? 'full' : 'unknown';
  }
  const closed = error instanceof errors.ClosedConnectionError || error instanceof errors.DrainingConnectionError;
  return closed || nobodyListened(error) ? 'unreachable' : 'unknown';
}

/** A stream has no responders while it has no leader; the client wraps that as "JetStream is not enabled". */
export function nobodyListened(error: unknown): boolean {
  const request = error instanceof Error ? (error.cause ?? error) : error;
  return request instanceof errors.RequestError && request.isNoResponders();
}

async function nextOf(nats: Nats, model: string, expected: number): Promise<{ revision: number; body: Buffer } | null> {
  try {
    // Not for as long as the client would wait: a server that does not answer must not stretch the deadline.
    const late = sleep(READ_TIMEOUT_MS, null, { ref: false });
    const next = await Promise.race([readNext(nats, model, expected), late]);
    return next && { revision: next.revision, body: Buffer.from(next.body) };
  } catch {
    return null; // not to be read now, so not yet known: the caller asks again until its deadline
  }
}
