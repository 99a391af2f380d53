import type { JsMsg } from '@nats-io/jetstream';
import type { Nats } from './connection.ts';
import { lost, type RoundEnd, rejectionOf, supervise, type Tail, type TailState } from './supervise.ts';

/** What a bucket holds under a key now; without a value it was deleted. */
export interface BucketEntry {
  key: string;
  value: string | null;
  revision: number;
  /** By the clock of NATS. */
  at: Date;
  /** Whether this was there before anybody listened, and so may be old. */
  replayed: boolean;
}

/** Who watches. All calls are synchronous. */
export interface BucketListener {
  entry(entry: BucketEntry): void;
  /** From here on everything comes anew. */
  begun?(): void;
  /** All that was there before anybody listened has come. */
  caughtUp?(): void;
  state(state: TailState, why?: unknown): void;
}

/** Follows a bucket for ever. The KV client's own watch is not watched itself: it ends unheard with the node that hosts it. */
export function watchBucket(nats: Nats, bucket: string, prepare: () => Promise<void>, listener: BucketListener): Tail {
  return supervise(nats, (over) => watch(nats, bucket, prepare, listener, over), listener.state);
}

async function watch(
  nats: Nats,
  bucket: string,
  prepare: () => Promise<void>,
  listener: BucketListener,
  over: AbortSignal,
): Promise<RoundEnd> {
  const aborted = rejectionOf(over);
  await Promise.race([aborted, prepare()]);
  const options = { opt_start_seq: 1, inactive_threshold: 30_000 };
  const consumer = await Promise.race([aborted, nats.js.consumers.get(`KV_${bucket}`, options)]);
  const { num_pending: earlier } = await consumer.info(true);
  let replayed = earlier > 0;
  listener.begun?.();
  listener.state('live');
  if (!replayed) listener.caughtUp?.();
  const callback = (m: JsMsg) => {
    listener.entry(entryOf(m, bucket, replayed));
    // Not by counting: of what was there, some may be gone before it is delivered.
    if (!replayed || m.info.pending > 0) return;
    replayed = false;
    listener.caughtUp?.();
  };
  const messages = await consumer.consume({ callback, max_messages: 1_000, expires: 5_000 });
  try {
    const why = await Promise.race([aborted, lost(messages), messages.closed()]);
    if (why instanceof Error) throw why;
  } finally {
    messages.stop();
  }
  return { diverged: false, progressed: true };
}

function entryOf(m: JsMsg, bucket: string, replayed: boolean): BucketEntry {
  const key = m.subject.slice(`$KV.${bucket}.`.length);
  const value = m.headers?.get('KV-Operation') ? null : m.string();
  return { key, value, revision: m.seq, at: m.time, replayed };
}
