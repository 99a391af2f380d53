import type { JsMsg } from '@nats-io/jetstream';
import type { Nats } from './connection.ts';
import { compareLog, type LogPosition } from './identity.ts';
import type { LogMessage } from './read.ts';
import { modelOf, readHead, STREAM } from './stream.ts';
import { lost, type RoundEnd, rejectionOf, supervise, type Tail, type TailState } from './supervise.ts';

/** Who reads the tail. All calls are synchronous and in the order of the log. */
export interface Follower {
  /** How far it has read, and what it has read there. */
  position(): LogPosition;
  message(message: LogMessage): void;
  /** Revisions that the log does not have any more: somebody took them out. */
  gap(first: number, last: number): void;
  /** The log was restored: everything read is to be forgotten. The position is empty afterwards. */
  restart(generation: number): void;
  state(state: TailState, why?: unknown): void;
}

/**
 * Follows the whole log from the follower's position, for ever. The client's ordered consumer does not survive the
 * loss of the node that hosts it, and is silently blind on a stream that was made anew, so it is watched from here:
 * missed heartbeats, an ended iterator or a reconnect start over from the last revision, after a look at whether it is
 * still the same log.
 */
export function startTail(nats: Nats, follower: Follower): Tail {
  return supervise(nats, (over) => follow(nats, follower, over), follower.state);
}

/** Reads until something is wrong; `progressed` if anything was read or the log's head was reached. */
async function follow(nats: Nats, follower: Follower, over: AbortSignal): Promise<RoundEnd> {
  const aborted = rejectionOf(over);
  const head = await Promise.race([aborted, readHead(nats)]);
  const comparison = await Promise.race([aborted, compareLog(nats, head, follower.position())]);
  if (comparison === 'diverged') return { diverged: true, progressed: false };
  if (comparison === 'restored') follower.restart(head.generation);
  const from = follower.position().revision;
  // Fresh options each time: the client writes into the object it is given. No filter: 2.10 crawls with one.
  const options = { opt_start_seq: from + 1, inactive_threshold: 30_000 };
  const consumer = await Promise.race([aborted, nats.js.consumers.get(STREAM, options)]);
  // Pending counts, too: the head itself may be one of those that were taken out.
  const { num_pending } = await consumer.info(true);
  const behind = from < head.revision && num_pending > 0;
  follower.state(behind ? 'catching-up' : 'live');
  const gap = Promise.withResolvers<void>();
  const reader = gapless(follower, from, { head: behind ? head.revision : null, lost: gap.resolve });
  const messages = await consumer.consume({ callback: reader.read, max_messages: 2_000, expires: 5_000 });
  try {
    const why = await Promise.race([aborted, gap.promise, lost(messages), messages.closed()]);
    if (why instanceof Error) throw why; // the follower's own, or one that ended the subscription
  } finally {
    messages.stop();
  }
  return { diverged: false, progressed: reader.revision() > from || !behind };
}

interface Marks {
  /** Where the follower becomes live, if it is not. */
  head: number | null;
  lost(): void;
}

/** Passes messages on in order. A gap at the start is the log's own; a later one may be the client's: start over. */
function gapless(follower: Follower, from: number, { head, lost }: Marks) {
  let last = from;
  let awaited = head;
  let stopped = false;
  const read = (m: JsMsg): void => {
    if (stopped || m.seq <= last) return;
    if (m.seq > last + 1) {
      if (last > from) {
        stopped = true;
        lost();
        return;
      }
      follower.gap(last + 1, m.seq - 1);
    }
    follower.message({ revision: m.seq, model: modelOf(m.subject), body: m.data });
    last = m.seq;
    if (awaited === null || (m.seq < awaited && m.info.pending > 0)) return;
    awaited = null;
    follower.state('live');
  };
  return { read, revision: () => last };
}
