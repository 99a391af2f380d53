import type { KeyObject } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { JetStreamApiError } from '@nats-io/jetstream';
import { clause } from '../domain/clause.ts';
import { Problem } from '../domain/errors.ts';
import type { Nats } from '../log/connection.ts';
import { beginRestore, endRestore } from '../log/restoring.ts';
import { STREAM } from '../log/stream.ts';
import { type Chain, emptyChain, follow, missUntil } from './chain.ts';
import { verifyCheckpoint } from './checkpoint.ts';
import type { ExportFile } from './export-file.ts';
import { HistoryBroken, type LogSource, type RawMessage } from './source.ts';
import { openUnfinished } from './stream-source.ts';

export interface RestoreOptions {
  /** The least that the restored log's generation is to be. */
  generation?: number | undefined;
  /** Told of the last revision that was stored. */
  progress?(revision: number, head: number): void;
}

/** So many are sent before the first is acknowledged; the stream stores them in their order, or none after a failure. */
const IN_FLIGHT = 256;
const PUBLISH_TIMEOUT_MS = 30_000;

/**
 * Reads an exported log to its end, and holds its checkpoint against the key where one is given.
 *
 * @throws {HistoryBroken} where it is not what was written, or signed, or lacks revisions, which no stream could lack in the
 *   same way
 */
export async function verifyExport(file: ExportFile, key?: KeyObject): Promise<Chain> {
  const chain = emptyChain(file.generation);
  for await (const message of messagesOf(file)) follow(chain, message);
  missUntil(chain, file.head);
  if (key) await verifySignature(file, key);
  if (chain.gap === null) return chain;
  const { first, last } = chain.gap;
  throw new HistoryBroken(`${file.name} has no revisions ${first} to ${last}: they were missing when it was exported.`);
}

async function verifySignature(file: ExportFile, key: KeyObject): Promise<void> {
  const { signed, checkpoint } = file.ending();
  if (signed === undefined) throw new HistoryBroken(`${file.name} is not signed.`);
  const genuine = await verifyCheckpoint(signed, key).catch((cause: Error) => {
    throw new HistoryBroken(`${file.name} is not to be believed: ${clause(cause.message)}.`, { cause });
  });
  if (!isDeepStrictEqual(genuine, checkpoint)) throw new HistoryBroken(`${file.name} is not what was signed.`);
}

/**
 * Rebuilds a log from a verified export, where there is none: the same bodies at the same revisions, of a higher generation.
 * One that was stopped goes on where it is repeated; until it has ended, no registry and no loader follows the stream.
 *
 * @throws {Problem} conflict where the stream is not empty; log-unavailable: repeat it
 * @throws {HistoryBroken} where the stream has something else than the export
 */
export async function restoreLog(nats: Nats, file: ExportFile, options: RestoreOptions = {}): Promise<number> {
  const { revision: there, generation: before } = await beginRestore(nats);
  await compare(nats, file);
  await appendAfter(nats, file, there, options.progress);
  const restored = await compare(nats, file);
  if (restored !== file.head) throw new HistoryBroken(`The stream ends at revision ${restored}, not at ${file.head}.`);
  const generation = Math.max(file.generation + 1, before + 1, options.generation ?? 0);
  await endRestore(nats, generation);
  return generation;
}

async function appendAfter(nats: Nats, file: ExportFile, there: number, progress: RestoreOptions['progress']) {
  const sent: Promise<void>[] = [];
  try {
    for await (const message of messagesOf(file)) {
      if (message.revision <= there) continue;
      const storing = store(nats, message);
      storing.catch(() => {}); // told where it is awaited
      sent.push(storing);
      if (sent.length < IN_FLIGHT) continue;
      await sent.shift();
      progress?.(message.revision - sent.length, file.head);
    }
    while (sent.length > 0) await sent.shift();
    progress?.(file.head, file.head);
  } finally {
    await Promise.allSettled(sent);
  }
}

async function store({ js }: Nats, { revision, subject, body }: RawMessage): Promise<void> {
  const expect = { lastSequence: revision - 1, streamName: STREAM };
  const ack = await js.publish(subject, body, { expect, timeout: PUBLISH_TIMEOUT_MS }).catch((cause: unknown) => {
    if (cause instanceof JetStreamApiError)
      throw new Error(`Revision ${revision} was refused: ${clause(cause.message)}.`, { cause });
    throw new Problem('log-unavailable', 'NATS went away; run the same command again, it goes on.', {}, cause);
  });
  if (ack.seq !== revision)
    throw new HistoryBroken(`Revision ${revision} was stored as ${ack.seq}: the stream has others.`);
}

/** Holds what is in the stream against the export, which may go on, and answers how far it goes. */
async function compare(nats: Nats, file: ExportFile): Promise<number> {
  const stream = await openUnfinished(nats);
  const originals = messagesOf(file);
  try {
    let revision = 0;
    for await (const copy of messagesOf(stream)) {
      const { value: original } = await originals.next();
      if (!original || !isSame(original, copy)) {
        throw new HistoryBroken(
          `The stream ${STREAM} has something else at revision ${copy.revision} than ${file.name}.`,
        );
      }
      revision = copy.revision;
    }
    return revision;
  } finally {
    await originals.return(undefined);
  }
}

function isSame(a: RawMessage, b: RawMessage): boolean {
  return a.revision === b.revision && a.subject === b.subject && a.body.equals(b.body);
}

async function* messagesOf(source: LogSource): AsyncGenerator<RawMessage> {
  for await (const batch of source.batches()) yield* batch;
}
