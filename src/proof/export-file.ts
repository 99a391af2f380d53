import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { clause } from '../domain/clause.ts';
import { addMessage, type Chain, emptyChain, findingsOf } from './chain.ts';
import { checkpointOf } from './checkpoint.ts';
import {
  type Ending,
  endingStart,
  type Header,
  MAX_LINE_BYTES,
  readEnding,
  readHeader,
  readMessage,
} from './export-line.ts';
import { HistoryBroken, type LogSource, type RawMessage } from './source.ts';

/** An exported log. */
export interface ExportFile extends LogSource {
  /** Returns the last line, after all batches were read. @throws {HistoryBroken} before */
  ending(): Ending;
}

const BATCH_MESSAGES = 500;

/**
 * Opens an exported log. Any changed byte of the file makes `batches` throw, at its end at the latest.
 *
 * @throws {HistoryBroken} naming the first wrong line
 */
export async function openExportFile(path: string): Promise<ExportFile> {
  const { generation, head } = await headerOf(path);
  let reader = createReader(path);
  return {
    name: path,
    generation,
    head,
    batches() {
      reader = createReader(path);
      return batchesOf(path, reader);
    },
    ending: () => reader.finish(),
    close: async () => {},
  };
}

async function headerOf(path: string): Promise<Header> {
  const reader = createReader(path);
  for await (const line of lines(path, reader)) {
    reader.take(line);
    break;
  }
  return reader.header();
}

async function* batchesOf(path: string, reader: Reader): AsyncGenerator<RawMessage[]> {
  let batch: RawMessage[] = [];
  for await (const line of lines(path, reader)) {
    const message = reader.take(line);
    if (message) batch.push(message);
    if (batch.length < BATCH_MESSAGES) continue;
    yield batch;
    batch = [];
  }
  reader.finish();
  if (batch.length > 0) yield batch;
}

/** Reads an exported log line by line, and throws at the first line that an export would not have there. */
interface Reader {
  /** Reads the next line. Returns its message; null for the first and the last line. @throws {HistoryBroken} */
  take(line: Buffer): RawMessage | null;
  header(): Header;
  /** Returns the last line. @throws {HistoryBroken} if it was not read */
  finish(): Ending;
  /** Returns the error for a line that was not passed to `take`. */
  refuseNext(why: string): HistoryBroken;
}

function createReader(path: string): Reader {
  const digest = createHash('sha256');
  let number = 0;
  let header: Header | null = null;
  let chain = emptyChain(0);
  let ending: Ending | null = null;

  return {
    take(line) {
      number++;
      if (ending) throw refuse('something follows the last line');
      if (!header) {
        header = readHeader(line);
        if (!header) throw refuse('it is not the first line of an exported log');
        chain = emptyChain(header.generation);
        digest.update(line).update('\n');
        return null;
      }
      const message = readMessage(line);
      if (message) {
        const wrong = misplaced(message.revision, chain.revision, header.head);
        if (wrong) throw refuse(wrong);
        addMessage(chain, message);
        digest.update(line).update('\n');
        return message;
      }
      ending = readEnding(line);
      if (!ending) throw refuse(`the line after revision ${chain.revision} was not written by an export`);
      const wrong = contradiction(ending, chain, `sha256:${digest.update(endingStart(ending)).digest('hex')}`);
      if (wrong) throw refuse(wrong);
      return null;
    },
    header() {
      if (header) return header;
      throw refuse('the file is empty', 1);
    },
    finish() {
      if (ending) return ending;
      throw refuse(`the file was cut off, after revision ${chain.revision}`, number + 1);
    },
    refuseNext: (why) => refuse(why, number + 1),
  };

  function refuse(why: string, line = number): HistoryBroken {
    return new HistoryBroken(`${path}, line ${line}: ${clause(why)}.`);
  }
}

function misplaced(revision: number, last: number, head: number): string | null {
  if (revision <= last) return `revision ${revision} comes after revision ${last}: a line was duplicated or moved`;
  return revision > head ? `revision ${revision} is higher than the head ${head} in the first line` : null;
}

/** Returns how the last line contradicts the lines before it; null if it does not. */
function contradiction(ending: Ending, chain: Chain, digest: string): string | null {
  const [finding] = findingsOf(chain);
  const detail = finding ? ` ${finding}` : '';
  if (ending.digest !== digest) return `the file was changed after it was written: its digest is wrong.${detail}`;
  const fits = isDeepStrictEqual(ending.checkpoint, checkpointOf(chain, new Date(ending.checkpoint.time)));
  return fits ? null : `the checkpoint does not fit the lines before it.${detail}`;
}

/** Yields the lines without their line ends. */
async function* lines(path: string, { refuseNext }: Reader): AsyncGenerator<Buffer> {
  let rest: Buffer[] = [];
  let held = 0;
  for await (const chunk of createReadStream(path, { highWaterMark: 256 * 1024 }) as AsyncIterable<Buffer>) {
    let from = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, from)) {
      const piece = chunk.subarray(from, end);
      yield rest.length > 0 ? Buffer.concat([...rest, piece]) : piece;
      [rest, held, from] = [[], 0, end + 1];
    }
    if (from === chunk.length) continue;
    rest.push(chunk.subarray(from));
    held += chunk.length - from;
    if (held > MAX_LINE_BYTES) throw refuseNext(`the line is longer than ${MAX_LINE_BYTES} bytes`);
  }
  if (held > 0) throw refuseNext('the file was cut off: its last line has no line end');
}
