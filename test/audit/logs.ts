import type { KeyObject } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { activate } from '../../src/commands/activate.ts';
import { publish } from '../../src/commands/publish.ts';
import { rollback } from '../../src/commands/rollback.ts';
import { subjectOf } from '../../src/log/stream.ts';
import { exportLog } from '../../src/proof/export.ts';
import { type ExportFile, openExportFile } from '../../src/proof/export-file.ts';
import type { LogSource, RawMessage } from '../../src/proof/source.ts';
import { at, file } from '../commands/support.ts';
import { temporaryFolder } from '../support/folder.ts';
import { createLogbook } from '../support/logbook.ts';

export const NOW = new Date('2026-04-01T12:00:00Z');

/** A log of two models: `fraud` has the revisions 1, 3, 4, 5 and 6, `churn` has 2 and 7. */
export function shortLog(): RawMessage[] {
  const book = createLogbook();
  const version = (name: string) => ({ version: name, artifacts: [file()] });
  book.give(publish, 'fraud', version('1.0.0'), { at: at(0) });
  book.give(publish, 'churn', version('1.0.0'), { at: at(60) });
  book.give(activate, 'fraud', { version: '1.0.0' }, { at: at(120) });
  book.give(publish, 'fraud', version('1.1.0'), { at: at(240) });
  book.give(activate, 'fraud', { version: '1.1.0', reason: 'better “recall”' }, { at: at(360) });
  book.give(rollback, 'fraud', { reason: 'worse' }, { at: at(480) });
  book.give(activate, 'churn', { version: '1.0.0' }, { at: at(600) });
  return book.messages;
}

/** A message that was written to a model's subject directly, not by the registry. */
export function foreign(revision: number, body: string | Buffer, model = 'fraud'): RawMessage {
  return { revision, subject: subjectOf(model), stored_at: NOW, body: Buffer.from(body) };
}

/** Returns the bytes of an export. */
export async function exported(source: LogSource, key?: KeyObject): Promise<Buffer> {
  const parts: Buffer[] = [];
  await exportLog(source, { now: NOW, key, write: async (bytes) => void parts.push(bytes) });
  return Buffer.concat(parts);
}

/** Creates a temporary export file, which `read` and `open` overwrite with the given bytes. */
export async function exportFile() {
  const path = join(await temporaryFolder(), 'log.jsonl');
  return {
    path,
    async read(bytes: Buffer | string): Promise<RawMessage[]> {
      await writeFile(path, bytes);
      return messagesOf(await openExportFile(path));
    },
    async open(bytes: Buffer | string): Promise<ExportFile> {
      await writeFile(path, bytes);
      return openExportFile(path);
    },
  };
}

export async function messagesOf(source: LogSource): Promise<RawMessage[]> {
  const messages: RawMessage[] = [];
  for await (const batch of source.batches()) messages.push(...batch);
  return messages;
}
