import type { JsMsg } from '@nats-io/jetstream';
import type { Nats } from './connection.ts';
import { compareLog, type LogPosition } from './identity.ts';
import type { LogMessage } from './read.ts';
import { modelOf, readHead, STREAM } from './stream.ts';
import {
  type RoundEnd,
  rejectOnAbort,
  type SupervisedTail,
  supervise,
  type TailState,
  untilEnded,
} from './supervise.ts';

/** Callbacks of a tail of the whole log. All calls are synchronous and in the order of the log. */
export interface LogListener {
  /** The last revision that was read, and the hashes found there. */
  position(): LogPosition;
  message(message: LogMessage): void;
  /** Called for revisions that are missing from the log because their messages were deleted. */
  gap(first: number, last: number): void;
  /** Called after the log was restored. The listener must discard everything it read; its position is then empty. */
  restart(generation: number): void;
  state(state: TailState, why?: unknown): void;
}

/**
 * Reads the whole log from the listener's position until closed. After every interruption it first compares the log with
 * that position, and continues only if it is still the same log. See `tailModel` for the tail of one model.
 */
export function tailLog(nats: Nats, listener: LogListener): SupervisedTail {
  return supervise(nats, (signal) => readRound(nats, listener, signal), listener.state);
}

/** Reads until something fails. The round progressed if it read a message or was at the head of the log. */
async function readRound(nats: Nats, listener: LogListener, signal: AbortSignal): Promise<RoundEnd> {
  const aborted = rejectOnAbort(signal);
  const head = await Promise.race([aborted, readHead(nats)]);
  const comparison = await Promise.race([aborted, compareLog(nats, head, listener.position())]);
  if (comparison === 'diverged') return { diverged: true, progressed: false };
  if (comparison === 'restored') listener.restart(head.generation);
  const from = listener.position().revision;
  // A new object every time: the client writes into it. No filter: with one, 2.10 reads very slowly.
  const options = { opt_start_seq: from + 1, inactive_threshold: 30_000 };
  const consumer = await Promise.race([aborted, nats.js.consumers.get(STREAM, options)]);
  // The head alone does not decide: its message may be one of those that were deleted.
  const { num_pending } = await Promise.race([aborted, consumer.info(true)]);
  const behind = from < head.revision && num_pending > 0;
  listener.state(behind ? 'catching-up' : 'live');
  const gap = Promise.withResolvers<void>();
  const reader = orderedReader(listener, from, behind ? head.revision : null, gap.resolve, signal);
  const messages = await consumer.consume({ callback: reader.read, max_messages: 2_000, expires: 5_000 });
  await untilEnded(messages, aborted, gap.promise);
  return { diverged: false, progressed: reader.revision() > from || !behind };
}

/**
 * Passes messages to the listener in order, and reports it as live at revision `head`, unless that is null.
 *
 * A gap before the first message is a gap of the log. A later gap may be messages that the client lost, so the reader calls
 * `stop` and ignores further messages. If the gap is still there in the next round, it is a gap of the log.
 */
function orderedReader(
  listener: LogListener,
  from: number,
  head: number | null,
  stop: () => void,
  signal: AbortSignal,
) {
  let last = from;
  let liveAt = head;
  let stopped = false;
  const read = (m: JsMsg): void => {
    if (stopped || signal.aborted || m.seq <= last) return;
    if (m.seq > last + 1) {
      if (last > from) {
        stopped = true;
        stop();
        return;
      }
      listener.gap(last + 1, m.seq - 1);
    }
    listener.message({ revision: m.seq, model: modelOf(m.subject), body: m.data });
    last = m.seq;
    if (liveAt === null || (m.seq < liveAt && m.info.pending > 0)) return;
    liveAt = null;
    listener.state('live');
  };
  return { read, revision: () => last };
}
