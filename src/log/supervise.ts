import { setTimeout as sleep } from 'node:timers/promises';
import type { ConsumerMessages } from '@nats-io/jetstream';
import type { Status } from '@nats-io/transport-node';
import type { Nats } from './connection.ts';

export type TailState = 'live' | 'catching-up' | 'cut-off' | 'diverged';

/** Something that is read for ever, until it is closed. */
export interface Tail {
  close(): Promise<void>;
}

/** How a round of reading ended, if it did not throw; `progressed` if it got anywhere. */
export interface RoundEnd {
  diverged: boolean;
  progressed: boolean;
}

const MIN_BACKOFF_MS = 100;
const MAX_BACKOFF_MS = 5_000;

/**
 * Reads round after round, for ever; a round ends when something is wrong or `over` aborts. The client's ordered consumer
 * does not survive the loss of the node that hosts it, and is silently blind on a stream that was made anew, so it is
 * watched from here: missed heartbeats, an ended iterator or a reconnect start over.
 */
export function supervise(
  nats: Nats,
  round: (over: AbortSignal) => Promise<RoundEnd>,
  state: (state: TailState, why?: unknown) => void,
): Tail {
  let current = new AbortController();
  const connection = watchConnection(nats, (type) => current.abort(new Error(`the connection to NATS: ${type}`)));
  let closed = false;
  const running = run();
  return {
    async close() {
      closed = true;
      connection.stop();
      current.abort();
      await running;
    },
  };

  async function run(): Promise<void> {
    let backoff = MIN_BACKOFF_MS;
    while (!closed && !nats.nc.isClosed()) {
      current = new AbortController();
      const progressed = await once(current.signal);
      backoff = progressed ? MIN_BACKOFF_MS : Math.min(backoff * 2, MAX_BACKOFF_MS);
      // A connection that goes or comes back ends the pause, too: the next round starts at once.
      await sleep(backoff * (0.5 + Math.random() / 2), undefined, { signal: current.signal }).catch(() => {});
    }
  }

  async function once(over: AbortSignal): Promise<boolean> {
    try {
      const { diverged, progressed } = await round(over);
      if (!closed) state(diverged ? 'diverged' : 'cut-off');
      return progressed;
    } catch (error) {
      if (!closed) state('cut-off', error);
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

/** Rejects when the signal aborts: what was asked of a server is not waited for any longer. */
export function rejectionOf(signal: AbortSignal): Promise<never> {
  const { promise, reject } = Promise.withResolvers<never>();
  signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  promise.catch(() => {});
  return promise;
}

/** Resolves when the consumer is no more, or not heard of: what it would do next is not waited for. */
export async function lost(messages: ConsumerMessages): Promise<void> {
  const fatal = ['heartbeats_missed', 'stream_not_found', 'consumer_not_found', 'consumer_deleted', 'no_responders'];
  for await (const status of messages.status()) if (fatal.includes(status.type)) return;
}
