import type { JsMsg } from '@nats-io/jetstream';
import type { Nats } from './connection.ts';
import { type RoundEnd, rejectOnAbort, supervise, type Tail, type TailState, untilEnded } from './supervise.ts';

/** The value of a key in a bucket; null after the key was deleted. */
export interface BucketEntry {
  key: string;
  value: string | null;
  revision: number;
  /** By the clock of NATS. */
  at: Date;
  /** Whether the entry was stored before the watch began, and so may be old. */
  replayed: boolean;
}

/** Callbacks of a watch. All calls are synchronous. */
export interface BucketListener {
  entry(entry: BucketEntry): void;
  /** Called at every start and restart of the watch; all entries follow again. */
  begun?(): void;
  /** Called after all entries that were stored before the watch began. */
  caughtUp?(): void;
  state(state: TailState, why?: unknown): void;
}

/** Watches a bucket until closed. The KV client's own watch stops without an error when the node that hosts it is lost. */
export function watchBucket(nats: Nats, bucket: string, prepare: () => Promise<void>, listener: BucketListener): Tail {
  return supervise(nats, (signal) => watch(nats, bucket, prepare, listener, signal), listener.state);
}

async function watch(
  nats: Nats,
  bucket: string,
  prepare: () => Promise<void>,
  listener: BucketListener,
  signal: AbortSignal,
): Promise<RoundEnd> {
  const aborted = rejectOnAbort(signal);
  await Promise.race([aborted, prepare()]);
  const options = { opt_start_seq: 1, inactive_threshold: 30_000 };
  const consumer = await Promise.race([aborted, nats.js.consumers.get(`KV_${bucket}`, options)]);
  const { num_pending } = await consumer.info(true);
  let replayed = num_pending > 0;
  listener.begun?.();
  listener.state('live');
  if (!replayed) listener.caughtUp?.();
  const callback = (m: JsMsg) => {
    listener.entry(entryOf(m, bucket, replayed));
    // Entries are not counted: some of the pending ones may be removed before they are delivered.
    if (!replayed || m.info.pending > 0) return;
    replayed = false;
    listener.caughtUp?.();
  };
  const messages = await consumer.consume({ callback, max_messages: 1_000, expires: 5_000 });
  await untilEnded(messages, aborted);
  return { diverged: false, progressed: true };
}

function entryOf(m: JsMsg, bucket: string, replayed: boolean): BucketEntry {
  const key = m.subject.slice(`$KV.${bucket}.`.length);
  const value = m.headers?.get('KV-Operation') ? null : m.string();
  return { key, value, revision: m.seq, at: m.time, replayed };
}
