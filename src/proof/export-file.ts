import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { clause } from '../domain/clause.ts';
import { type Chain, emptyChain, findingsOf, follow } from './chain.ts';
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

/** An exported log. What its last line says is known when all batches were read. */
export interface ExportFile extends LogSource {
  ending(): Ending;
}

const BATCH_MESSAGES = 500;

/**
 * Opens an exported log. A file that is not byte for byte what was written shows at the end of its batches at the latest.
 *
 * @throws {HistoryBroken} naming the first line that is not as it was written
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

/** Takes an exported log line by line, and refuses the first that would not have been written there. */
interface Reader {
  /** The message of the line, if it has one. @throws {HistoryBroken} */
  take(line: Buffer): RawMessage | null;
  header(): Header;
  /** What the last line says. @throws {HistoryBroken} where it did not come */
  finish(): Ending;
  /** For what is wrong with the line after those that were taken. */
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
        if (!header) throw refuse('no exported log begins like this');
        chain = emptyChain(header.generation);
        digest.update(line).update('\n');
        return null;
      }
      const message = readMessage(line);
      if (message) {
        const wrong = misplaced(message.revision, chain.revision, header.head);
        if (wrong) throw refuse(wrong);
        follow(chain, message);
        digest.update(line).update('\n');
        return message;
      }
      ending = readEnding(line);
      if (!ending) throw refuse(`it is not as it was written, after revision ${chain.revision}`);
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
  if (revision <= last) return `revision ${revision} comes after revision ${last}: a line is twice there, or moved`;
  return revision > head ? `revision ${revision} is beyond the head ${head} that the first line names` : null;
}

/** What the last line says that does not fit the lines before it. */
function contradiction(ending: Ending, chain: Chain, digest: string): string | null {
  const [finding] = findingsOf(chain);
  const seen = finding ? ` ${finding}` : '';
  if (ending.digest !== digest) return `the file was changed after it was written: its digest does not fit.${seen}`;
  const fits = isDeepStrictEqual(ending.checkpoint, checkpointOf(chain, new Date(ending.checkpoint.time)));
  return fits ? null : `the checkpoint does not fit what stands before it.${seen}`;
}

/** The lines without their ends. */
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
    if (held > MAX_LINE_BYTES) throw refuseNext(`a line is longer than any that is written, ${MAX_LINE_BYTES} bytes`);
  }
  if (held > 0) throw refuseNext('the file was cut off: its last line has no end');
}
