import { setTimeout as sleep } from 'node:timers/promises';
import type { ConsumerMessages } from '@nats-io/jetstream';
import type { Status } from '@nats-io/transport-node';
import type { Nats } from './connection.ts';

/** `cut-off`: the connection or consumer was lost. `diverged`: the log is not the one that was read; see `compareLog`. */
export type TailState = 'live' | 'catching-up' | 'cut-off' | 'diverged';

/** A read that continues until it is closed. */
export interface Tail {
  close(): Promise<void>;
}

export interface SupervisedTail extends Tail {
  /** Ends the round; the next one begins at the listener's position. */
  restart(): void;
}

/** The result of a round that did not throw. A round that `progressed` resets the back-off. */
export interface RoundEnd {
  diverged: boolean;
  progressed: boolean;
}

const MIN_BACKOFF_MS = 100;
const MAX_BACKOFF_MS = 5_000;

/**
 * Runs `round` again and again until closed. A round reads until something fails or its signal aborts.
 *
 * The client's ordered consumer does not survive the loss of the node that hosts it, and receives nothing, without an
 * error, from a stream that was recreated. So missed heartbeats, an ended iterator and a reconnect each end the round.
 */
export function supervise(
  nats: Nats,
  round: (signal: AbortSignal) => Promise<RoundEnd>,
  state: (state: TailState, why?: unknown) => void,
): SupervisedTail {
  let current = new AbortController();
  const connection = watchConnection(nats, (type) => current.abort(new Error(`the connection to NATS: ${type}`)));
  let closed = false;
  const running = run();
  return {
    restart: () => current.abort(new Error('the position was changed')),
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
      const progressed = await runRound(current.signal);
      backoff = progressed ? MIN_BACKOFF_MS : Math.min(backoff * 2, MAX_BACKOFF_MS);
      // A change of the connection also ends the back-off: the next round starts at once.
      await sleep(backoff * (0.5 + Math.random() / 2), undefined, { signal: current.signal }).catch(() => {});
    }
  }

  async function runRound(signal: AbortSignal): Promise<boolean> {
    try {
      const { diverged, progressed } = await round(signal);
      if (!closed) state(diverged ? 'diverged' : 'cut-off');
      return progressed;
    } catch (error) {
      if (!closed) state('cut-off', error);
      return false;
    }
  }
}

/**
 * Reports changes of the connection. A disconnect ends a round, because the next one must first compare the log with what
 * was read. A reconnect ends it too: the client drops requests that were sent in between, and they would never resolve.
 */
function watchConnection({ nc }: Nats, changed: (type: string) => void): { stop(): void } {
  // The client's status iterator has a `stop` method that its types leave out.
  const statuses = nc.status() as AsyncIterable<Status> & { stop(): void };
  void (async () => {
    for await (const { type } of statuses) if (['disconnect', 'reconnect', 'close'].includes(type)) changed(type);
  })();
  return statuses;
}

/** Returns a promise that rejects with the signal's reason; race a request against it to stop waiting for the request. */
export function rejectOnAbort(signal: AbortSignal): Promise<never> {
  const { promise, reject } = Promise.withResolvers<never>();
  signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  promise.catch(() => {});
  return promise;
}

/**
 * Waits until the messages end, their consumer is lost or one of `others` settles; then stops them.
 *
 * @throws {Error} the error that ended the subscription, such as one that the callback threw; the rejection of `others`
 */
export async function untilEnded(messages: ConsumerMessages, ...others: Promise<void>[]): Promise<void> {
  try {
    const error = await Promise.race([...others, consumerLoss(messages), messages.closed()]);
    if (error instanceof Error) throw error;
  } finally {
    messages.stop();
  }
}

/** Resolves when the consumer was deleted or is no longer reachable. */
export async function consumerLoss(messages: ConsumerMessages): Promise<void> {
  const fatal = ['heartbeats_missed', 'stream_not_found', 'consumer_not_found', 'consumer_deleted', 'no_responders'];
  for await (const status of messages.status()) if (fatal.includes(status.type)) return;
}
