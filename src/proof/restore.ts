import type { KeyObject } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { JetStreamApiError } from '@nats-io/jetstream';
import { clause } from '../domain/clause.ts';
import { Problem } from '../domain/errors.ts';
import type { Nats } from '../log/connection.ts';
import { beginRestore, endRestore } from '../log/restoring.ts';
import { STREAM } from '../log/stream.ts';
import { addMessage, type Chain, emptyChain, noteGap } from './chain.ts';
import { verifyCheckpoint } from './checkpoint.ts';
import type { ExportFile } from './export-file.ts';
import { HistoryBroken, type LogSource, type RawMessage } from './source.ts';
import { openRestoringStream } from './stream-source.ts';

export interface RestoreOptions {
  /** The lowest generation that the restored log may get. */
  generation?: number | undefined;
  /** Called with the last revision that was stored. */
  progress?(revision: number, head: number): void;
}

/** The number of unacknowledged messages. The stream stores them in order, and none after one that was refused. */
const IN_FLIGHT = 256;
const PUBLISH_TIMEOUT_MS = 30_000;

/**
 * Reads an exported log to its end, and verifies the signature of its checkpoint if a key is given.
 *
 * @throws {HistoryBroken} if the file was changed, is not signed with the key, or has gaps, which no stream could have
 */
export async function verifyExport(file: ExportFile, key?: KeyObject): Promise<Chain> {
  const chain = emptyChain(file.generation);
  for await (const message of messagesOf(file)) addMessage(chain, message);
  noteGap(chain, file.head);
  if (key) await verifySignature(file, key);
  if (chain.gap === null) return chain;
  const { first, last } = chain.gap;
  throw new HistoryBroken(`${file.name} lacks revisions ${first} to ${last}: they were missing when it was exported.`);
}

async function verifySignature(file: ExportFile, key: KeyObject): Promise<void> {
  const { signed, checkpoint } = file.ending();
  if (signed === undefined) throw new HistoryBroken(`${file.name} is not signed.`);
  const genuine = await verifyCheckpoint(signed, key).catch((cause: Error) => {
    throw new HistoryBroken(`The signature of ${file.name} was refused: ${clause(cause.message)}.`, { cause });
  });
  if (!isDeepStrictEqual(genuine, checkpoint))
    throw new HistoryBroken(`${file.name} differs from its signed checkpoint.`);
}

/**
 * Rebuilds a log from a verified export in an empty stream: the same bodies at the same revisions, with a higher
 * generation. An interrupted restore continues when it is repeated. Until it ends, no registry or loader follows the stream.
 *
 * @returns the generation
 * @throws {Problem} conflict if the stream has events that no restore wrote; log-unavailable: repeat it
 * @throws {HistoryBroken} if the stream differs from the export
 */
export async function restoreLog(nats: Nats, file: ExportFile, options: RestoreOptions = {}): Promise<number> {
  const { revision: stored, generation: before } = await beginRestore(nats);
  await compare(nats, file);
  await appendAfter(nats, file, stored, options.progress);
  const restored = await compare(nats, file);
  if (restored !== file.head) throw new HistoryBroken(`The stream ends at revision ${restored}, not at ${file.head}.`);
  const generation = Math.max(file.generation + 1, before + 1, options.generation ?? 0);
  await endRestore(nats, generation);
  return generation;
}

async function appendAfter(nats: Nats, file: ExportFile, stored: number, progress: RestoreOptions['progress']) {
  const sent: Promise<void>[] = [];
  try {
    for await (const message of messagesOf(file)) {
      if (message.revision <= stored) continue;
      const storing = store(nats, message);
      storing.catch(() => {}); // Not unhandled: it is awaited below.
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
    throw new Problem('log-unavailable', 'NATS does not answer. Run the same command again to continue.', {}, cause);
  });
  if (ack.seq !== revision)
    throw new HistoryBroken(`Revision ${revision} was stored as ${ack.seq}: the stream has other events.`);
}

/** Checks that the stream is a prefix of the export. Returns the stream's last revision. @throws {HistoryBroken} */
async function compare(nats: Nats, file: ExportFile): Promise<number> {
  const stream = await openRestoringStream(nats);
  const originals = messagesOf(file);
  try {
    let revision = 0;
    for await (const copy of messagesOf(stream)) {
      const { value: original } = await originals.next();
      if (!original || !isSame(original, copy)) {
        throw new HistoryBroken(
          `The stream ${STREAM} differs from ${file.name} at revision ${copy.revision}. Delete it and run restore again.`,
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
