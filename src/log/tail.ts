import { setTimeout as sleep } from 'node:timers/promises';
import type { ConsumerMessages, JsMsg } from '@nats-io/jetstream';
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

const MAX_BACKOFF_MS = 5_000;

/**
 * Follows the whole log from the follower's checkpoint, for ever. The client's ordered consumer does not survive the
 * loss of the node that hosts it, and is silently blind on a stream that was made anew, so it is watched from here:
 * missed heartbeats, an ended iterator or a reconnect start over from the last revision, after a look at whether it is
 * still the same log.
 */
export function startTail(nats: Nats, follower: Follower): Tail {
  const stop = new AbortController();
  let interrupt = () => {};
  const running = run();
  void watchConnection();
  return {
    async close() {
      stop.abort();
      interrupt();
      await running;
    },
  };

  async function run(): Promise<void> {
    let backoff = 100;
    while (!stop.signal.aborted) {
      const interrupted = Promise.withResolvers<void>();
      interrupt = interrupted.resolve;
      const progressed = await followOnce(interrupted.promise);
      if (stop.signal.aborted) return;
      backoff = progressed ? 100 : Math.min(backoff * 2, MAX_BACKOFF_MS);
      await sleep(backoff * (0.5 + Math.random() / 2), undefined, { signal: stop.signal }).catch(() => {});
    }
  }

  async function followOnce(interrupted: Promise<void>): Promise<boolean> {
    try {
      const { diverged, progressed } = await follow(nats, follower, interrupted);
      if (!stop.signal.aborted) follower.state(diverged ? 'diverged' : 'cut-off');
      return progressed;
    } catch (error) {
      follower.state('cut-off', error);
      return false;
    }
  }

  /** Whoever answers after a cut is first compared with what was read. Ends when the connection is closed. */
  async function watchConnection(): Promise<void> {
    for await (const { type } of nats.nc.status()) if (type === 'disconnect') interrupt();
  }
}

/** Reads until something is wrong; `progressed` if anything was read or the log's head was reached. */
async function follow(nats: Nats, follower: Follower, interrupted: Promise<void>) {
  const head = await readHead(nats);
  const comparison = await compareLog(nats, head, follower.checkpoint());
  if (comparison === 'diverged') return { diverged: true, progressed: false };
  if (comparison === 'restored') follower.restart(head.generation);
  const from = follower.checkpoint().revision;
  const live = () => follower.state('live');
  if (from >= head.revision) live();
  else follower.state('catching-up');
  const gap = Promise.withResolvers<void>();
  const reader = gapless(follower, from, { reached: head.revision, live, lost: gap.resolve });
  // Fresh options each time: the client writes into the object it is given. No filter: 2.10 crawls with one.
  const consumer = await nats.js.consumers.get(STREAM, { opt_start_seq: from + 1, inactive_threshold: 30_000 });
  const messages = await consumer.consume({ callback: reader.read, max_messages: 2_000, expires: 5_000 });
  try {
    await Promise.race([gap.promise, lost(messages), interrupted, messages.closed()]);
  } finally {
    messages.stop();
  }
  return { diverged: false, progressed: reader.revision() > from || from >= head.revision };
}

interface Marks {
  reached: number;
  live(): void;
  lost(): void;
}

/** Passes messages on in order. A gap at the start is the log's own; a later one may be the client's: start over. */
function gapless(follower: Follower, from: number, { reached, live, lost }: Marks) {
  let last = from;
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
    if (last === reached) live();
  };
  return { read, revision: () => last };
}

/** Resolves when the consumer is no more, or not heard of: what it would do next is not waited for. */
async function lost(messages: ConsumerMessages): Promise<void> {
  const fatal = ['heartbeats_missed', 'stream_not_found', 'consumer_not_found', 'consumer_deleted', 'no_responders'];
  for await (const status of messages.status()) if (fatal.includes(status.type)) return;
}
