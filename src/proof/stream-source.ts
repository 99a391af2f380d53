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
/** What the client may have asked for and not handed over. */
const AHEAD_MESSAGES = 2_000;
const RETRY_MS = 500;
/** A consumer that says nothing for so long is made anew: while it is cut off, the client waits without an end. */
const STALLED_MS = 10_000;
/** So long nothing may arrive. A cluster that lost its leader has another after seconds. */
const PATIENCE_MS = 60_000;

/**
 * The stream as it is now, to be read from its beginning, which takes rights to look at it and to consume it.
 *
 * @throws {Problem} not-found where there is no stream; log-unavailable, also while it is being restored
 */
export async function openStreamSource(nats: Nats, close: () => Promise<void>): Promise<LogSource> {
  const head = await headOf(nats);
  if (!head.restoring) return sourceOf(nats, head, close);
  throw new Problem('log-unavailable', `A restore into the stream ${STREAM} is not finished: run it again.`);
}

/** The stream as far as it was restored. */
export async function openUnfinished(nats: Nats): Promise<LogSource> {
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

/** How far it was read. */
interface Position {
  epoch: string | null;
  last: RawMessage | null;
}

/**
 * Reads round after round: the client's ordered consumer does not survive the loss of the node that hosts it, so it is made
 * anew after what was read last, if that is still there.
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

/** @throws {Problem} conflict for a log that has become another one since it was read so far */
async function checkSame(nats: Nats, { generation, restoring }: LogHead, { epoch, last }: Position): Promise<void> {
  if (last === null) return;
  const now = await readHead(nats);
  const position = { generation, epoch, revision: last.revision, hash: hashOf(last.body) };
  // What is read while it is being restored is read by who restores it.
  const comparison = await compareLog(nats, { ...now, restoring: now.restoring !== restoring }, position);
  if (comparison !== 'same') throw new Problem('conflict', 'The log was replaced by another one while it was read.');
}

/**
 * What one consumer delivers of the messages after `from`, until `head`, or until it is lost or passes over revisions. An
 * empty batch at the end says that the log has no more of them.
 */
async function* round(nats: Nats, from: number, head: number): AsyncGenerator<RawMessage[]> {
  // Fresh options each time: the client writes into them. No filter: 2.10 crawls with one.
  const consumer = await nats.js.consumers.get(STREAM, { opt_start_seq: from + 1, inactive_threshold: 30_000 });
  try {
    const { num_pending } = await consumer.info(true);
    if (num_pending > 0) yield* consume(consumer, from, head);
    // A replica may be behind: the leader knows whether the head was taken out.
    else if ((await readHash(nats, head)) === null) yield [];
  } finally {
    // Or the server keeps it until its time is over.
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
      // At the start it is the log that lacks something; later it may be the client, which the next round shows.
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
