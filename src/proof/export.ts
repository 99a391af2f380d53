import { createHash, type KeyObject } from 'node:crypto';
import { addMessage, type Chain, emptyChain } from './chain.ts';
import { checkpointOf, signCheckpoint } from './checkpoint.ts';
import { endingLine, endingStart, headerLine, messageLine } from './export-line.ts';
import type { LogSource } from './source.ts';

export interface ExportOptions {
  now: Date;
  /** Signs the checkpoint at the end. */
  key?: KeyObject | undefined;
  /** Writes the next bytes of the file. */
  write(bytes: Buffer): Promise<void>;
  /** Called with the last revision that was written. */
  progress?(revision: number, head: number): void;
}

/** Writes a log as JSON lines with the exact bytes of every body, and returns its chain. */
export async function exportLog(source: LogSource, { now, key, write, progress }: ExportOptions): Promise<Chain> {
  const digest = createHash('sha256');
  const put = async (text: string) => {
    const bytes = Buffer.from(text);
    digest.update(bytes);
    await write(bytes);
  };
  const chain = emptyChain(source.generation);
  await put(`${headerLine(source)}\n`);
  for await (const batch of source.batches()) {
    let text = '';
    for (const message of batch) {
      addMessage(chain, message);
      text += `${messageLine(message)}\n`;
    }
    await put(text);
    progress?.(chain.revision, source.head);
  }
  const checkpoint = checkpointOf(chain, now);
  const signed = key && (await signCheckpoint(checkpoint, key));
  digest.update(endingStart({ checkpoint, signed }));
  await write(Buffer.from(`${endingLine({ checkpoint, signed, digest: `sha256:${digest.digest('hex')}` })}\n`));
  return chain;
}
