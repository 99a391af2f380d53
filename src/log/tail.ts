import { setTimeout as sleep } from 'node:timers/promises';
import type { ConsumerMessages, JsMsg } from '@nats-io/jetstream';
import type { Status } from '@nats-io/transport-node';
import type { Nats } from './connection.ts';
import { type Checkpoint, compareLog } from './identity.ts';
import type { LogMessage } from './read.ts';
import { modelOf, readHead, STREAM } from './stream.ts';

export type TailState = 'live' | 'catching-up' | 'cut-off' | 'diverged';

/** Who reads the tail. All calls are synchronous and in the order of the log. */
export interface Follower {
  /** How far it has read, and what it has read there. */
  checkpoint(): Checkpoint;
  message(message: LogMessage): void;
  /** Revisions that the log does not have any more: somebody took them out. */
  gap(first: number, last: number): void;
  /** The log was restored: everything read is to be forgotten. The checkpoint is empty afterwards. */
  restart(generation: number): void;
  state(state: TailState, why?: unknown): void;
}

export interface Tail {
  close(): Promise<void>;
}

const MIN_BACKOFF_MS = 100;
const MAX_BACKOFF_MS = 5_000;

/**
 * Follows the whole log from the follower's checkpoint, for ever. The client's ordered consumer does not survive the
 * loss of the node that hosts it, and is silently blind on a stream that was made anew, so it is watched from here:
 * missed heartbeats, an ended iterator or a reconnect start over from the last revision, after a look at whether it is
 * still the same log.
 */
export function startTail(nats: Nats, follower: Follower): Tail {
  let round = new AbortController();
  const connection = watchConnection(nats, (type) => round.abort(new Error(`the connection to NATS: ${type}`)));
  let closed = false;
  const running = run();
  return {
    async close() {
      closed = true;
      connection.stop();
      round.abort();
      await running;
    },
  };

  async function run(): Promise<void> {
    let backoff = MIN_BACKOFF_MS;
    while (!closed && !nats.nc.isClosed()) {
      round = new AbortController();
      const progressed = await followOnce(round.signal);
      backoff = progressed ? MIN_BACKOFF_MS : Math.min(backoff * 2, MAX_BACKOFF_MS);
      // A connection that goes or comes back ends the pause, too: the next round starts at once.
      await sleep(backoff * (0.5 + Math.random() / 2), undefined, { signal: round.signal }).catch(() => {});
    }
  }

  async function followOnce(over: AbortSignal): Promise<boolean> {
    try {
      const { diverged, progressed } = await follow(nats, follower, over);
      if (!closed) follower.state(diverged ? 'diverged' : 'cut-off');
      return progressed;
    } catch (error) {
      if (!closed) follower.state('cut-off', error);
      return false;
    }
  }
}

/**
 * Whoever answers after a cut is first compared with what was read, so a disconnect ends the round; and so does the
 * reconnect, since the client drops what was asked in between, which would be waited for in vain.
 */
function watchConnection({ nc }: Nats, changed: (type: string) => void): { stop(): void } {
  // The client's iterators can be stopped, which its types leave out.
  const statuses = nc.status() as AsyncIterable<Status> & { stop(): void };
  void (async () => {
    for await (const { type } of statuses) if (['disconnect', 'reconnect', 'close'].includes(type)) changed(type);
  })();
  return statuses;
}

/** Reads until something is wrong; `progressed` if anything was read or the log's head was reached. */
async function follow(nats: Nats, follower: Follower, over: AbortSignal) {
  const aborted = rejectionOf(over);
  const head = await Promise.race([aborted, readHead(nats)]);
  const comparison = await Promise.race([aborted, compareLog(nats, head, follower.checkpoint())]);
  if (comparison === 'diverged') return { diverged: true, progressed: false };
  if (comparison === 'restored') follower.restart(head.generation);
  const from = follower.checkpoint().revision;
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

/** Rejects when the signal aborts: what was asked of a server is not waited for any longer. */
function rejectionOf(signal: AbortSignal): Promise<never> {
  const { promise, reject } = Promise.withResolvers<never>();
  signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  promise.catch(() => {});
  return promise;
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

/** Resolves when the consumer is no more, or not heard of: what it would do next is not waited for. */
async function lost(messages: ConsumerMessages): Promise<void> {
  const fatal = ['heartbeats_missed', 'stream_not_found', 'consumer_not_found', 'consumer_deleted', 'no_responders'];
  for await (const status of messages.status()) if (fatal.includes(status.type)) return;
}
