import { createInterface } from 'node:readline/promises';
import { Command } from 'commander';
import { isErrno } from '../files/errno.ts';
import { findingsOf } from '../proof/chain.ts';
import { readPublicKey } from '../proof/checkpoint-key.ts';
import { type ExportFile, openExportFile } from '../proof/export-file.ts';
import { WrongUsage } from './helpers/failure.ts';
import { openLogAlone } from './helpers/log.ts';
import { clean, printLine, progressBar, revisions, tell } from './helpers/output.ts';
import { count } from './helpers/pages.ts';

export function restoreCommand(): Command {
  return new Command('restore')
    .description(
      'rebuild an empty registry’s log from an export, with the same revisions; every registry must be stopped',
    )
    .argument('<file>', 'what signalbox export wrote')
    .option('--key <public.pem>', 'refuse an export that was not signed with its other half')
    .option('--generation <number>', 'at least this one, if the log was restored before from this export', count)
    .option('--yes', 'do not ask')
    .addHelpText('after', '\nExample:\n  NATS_URL=nats://admin:…@nats:4222 signalbox restore registry.jsonl')
    .action(async (path: string, { key, generation, yes }) => {
      const { restoreLog, verifyExport } = await import('../proof/restore.ts');
      const file = await open(path);
      const chain = await verifyExport(file, key === undefined ? undefined : await readPublicKey(key));
      for (const finding of findingsOf(chain)) tell(clean(finding));
      tell(`${path} is whole: ${chain.revision} revisions, exported at ${file.ending().checkpoint.time}.`);
      if (!yes) await confirm();
      const { nats, close } = await openLogAlone();
      try {
        const progress = progressBar('Restoring', revisions);
        const restored = await restoreLog(nats, file, { generation, progress });
        printLine(`The log is restored to revision ${chain.revision}, as generation ${restored}.`);
      } finally {
        await close();
      }
    });
}

async function open(path: string): Promise<ExportFile> {
  try {
    return await openExportFile(path);
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error;
    throw new WrongUsage(`There is no file ${path}. To put an archived version back into use: signalbox unarchive.`);
  }
}

async function confirm(): Promise<void> {
  if (!process.stdin.isTTY) throw new WrongUsage('Say --yes: every registry of this log is stopped.');
  const asking = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await asking.question('Is every registry of this log stopped? [y/N] ');
    if (!/^y(es)?$/i.test(answer.trim())) throw new WrongUsage('Nothing was done.');
  } finally {
    asking.close();
  }
}
