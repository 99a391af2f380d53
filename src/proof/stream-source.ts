import { setTimeout as sleep } from 'node:timers/promises';
import { type Consumer, JetStreamApiCodes, JetStreamApiError, type JsMsg } from '@nats-io/jetstream';
import { Problem } from '../domain/errors.ts';
import type { Nats } from '../log/connection.ts';
import { compareLog } from '../log/identity.ts';
import { hashOf, readHash } from '../log/read.ts';
import { type LogHead, readHead, STREAM } from '../log/stream.ts';
import { consumerLoss } from '../log/supervise.ts';
import type { LogSource, RawMessage } from './source.ts';

const BATCH_MESSAGES = 500;
/** The number of messages that the client may request ahead. */
const AHEAD_MESSAGES = 2_000;
const RETRY_MS = 500;
/** A consumer without messages for this long is recreated: if it is cut off, the client would wait forever. */
const STALLED_MS = 10_000;
/** The read fails after this long without progress. A cluster that lost its leader elects another one within seconds. */
const PATIENCE_MS = 60_000;

/**
 * Opens the stream up to its present end. Needs permission to read the stream's info and to create consumers.
 *
 * @throws {Problem} not-found if there is no stream; log-unavailable, also during a restore
 */
export async function openStreamSource(nats: Nats, close: () => Promise<void>): Promise<LogSource> {
  const head = await headOf(nats);
  if (!head.restoring) return sourceOf(nats, head, close);
  throw new Problem('log-unavailable', `A restore into the stream ${STREAM} is not finished: run it again.`);
}

/** Opens the stream during a restore, up to the last restored message. */
export async function openRestoringStream(nats: Nats): Promise<LogSource> {
  return sourceOf(nats, await headOf(nats), async () => {});
}

function sourceOf(nats: Nats, head: LogHead, close: () => Promise<void>): LogSource {
  return {
    name: `the stream ${STREAM} at ${nats.nc.getServer()}`,
    generation: head.generation,
    head: head.revision,
    batches: () => read(nats, head),
    close,
  };
}

async function headOf(nats: Nats): Promise<LogHead> {
  try {
    return await readHead(nats);
  } catch (error) {
    if (!(error instanceof JetStreamApiError) || error.code !== JetStreamApiCodes.StreamNotFound)
      throw unavailable(error);
    throw new Problem('not-found', `There is no log at ${nats.nc.getServer()}: it has no stream ${STREAM}.`);
  }
}

function unavailable(cause: unknown): Problem {
  return new Problem('log-unavailable', 'The log cannot be read to its end: NATS does not answer.', {}, cause);
}

/** What was read so far. */
interface Position {
  epoch: string | null;
  last: RawMessage | null;
}

/**
 * Reads in rounds, each with a new consumer that starts after the last message: the client's ordered consumer does not
 * survive the loss of the node that hosts it.
 */
async function* read(nats: Nats, head: LogHead): AsyncGenerator<RawMessage[]> {
  const position: Position = { epoch: null, last: null };
  let progressed = Date.now();
  while (revisionOf(position) < head.revision) {
    const from = revisionOf(position);
    let failure: unknown;
    try {
      await checkSame(nats, head, position);
      for await (const batch of round(nats, from, head.revision)) {
        if (batch.length === 0) return;
        if (batch[0]!.revision === 1) position.epoch = hashOf(batch[0]!.body);
        position.last = batch.at(-1)!;
        yield batch;
        progressed = Date.now();
      }
    } catch (error) {
      if (error instanceof Problem) throw error;
      failure = error;
    }
    if (revisionOf(position) > from) continue;
    if (Date.now() - progressed > PATIENCE_MS || nats.nc.isClosed()) throw unavailable(failure);
    await sleep(RETRY_MS);
  }
}

function revisionOf({ last }: Position): number {
  return last?.revision ?? 0;
}

/** @throws {Problem} conflict if the log was replaced since the last round */
async function checkSame(nats: Nats, { generation, restoring }: LogHead, { epoch, last }: Position): Promise<void> {
  if (last === null) return;
  const now = await readHead(nats);
  const position = { generation, epoch, revision: last.revision, hash: hashOf(last.body) };
  // During a restore, only the restore itself reads: its mark is expected then.
  const comparison = await compareLog(nats, { ...now, restoring: now.restoring !== restoring }, position);
  if (comparison !== 'same')
    throw new Problem('conflict', 'The log was replaced by another one while it was read. Run the command again.');
}

/**
 * Yields the messages after `from` that one consumer delivers, until `head`, or until the consumer is lost or skips
 * revisions. An empty batch at the end means that the log has no more messages up to `head`.
 */
async function* round(nats: Nats, from: number, head: number): AsyncGenerator<RawMessage[]> {
  // A new options object each time: the client modifies it. No filter: nats-server 2.10 is slow with one.
  const consumer = await nats.js.consumers.get(STREAM, { opt_start_seq: from + 1, inactive_threshold: 30_000 });
  try {
    const { num_pending } = await consumer.info(true);
    if (num_pending > 0) yield* consume(consumer, from, head);
    // A replica may be behind. The leader knows whether the head was deleted.
    else if ((await readHash(nats, head)) === null) yield [];
  } finally {
    // Otherwise the server keeps it until inactive_threshold.
    await consumer.delete().catch(() => {});
  }
}

async function* consume(consumer: Consumer, from: number, head: number): AsyncGenerator<RawMessage[]> {
  const messages = await consumer.consume({ max_messages: AHEAD_MESSAGES, expires: 5_000 });
  const stop = () => messages.stop();
  const stalled = setTimeout(stop, STALLED_MS);
  void consumerLoss(messages).then(stop);
  let batch: RawMessage[] = [];
  let last = from;
  try {
    for await (const m of messages) {
      if (m.seq <= last) continue;
      // A gap at the start is a gap in the log. A later one may be the client's loss, so the next round checks it.
      if (m.seq > last + 1 && last > from) break;
      last = m.seq;
      if (last <= head) batch.push(rawMessage(m));
      const ends = last >= head || m.info.pending === 0;
      if (batch.length < BATCH_MESSAGES && !ends) continue;
      stalled.refresh();
      if (batch.length > 0) yield batch;
      if (last > head) yield [];
      if (ends) return;
      batch = [];
    }
    if (batch.length > 0) yield batch;
  } finally {
    clearTimeout(stalled);
    stop();
  }
}

function rawMessage({ seq: revision, subject, data, time: stored_at }: JsMsg): RawMessage {
  const body = Buffer.isBuffer(data) ? data : Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  return { revision, subject, stored_at, body };
}
