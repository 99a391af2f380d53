import { Command } from 'commander';
import { isErrno } from '../files/errno.ts';
import { findingsOf } from '../proof/chain.ts';
import { readPublicKey } from '../proof/checkpoint-key.ts';
import { type ExportFile, openExportFile } from '../proof/export-file.ts';
import { confirmed } from './helpers/confirm.ts';
import { WrongUsage } from './helpers/failure.ts';
import { openLogAlone } from './helpers/log.ts';
import { clean, notify, printLine, progressBar, revisions } from './helpers/output.ts';
import { count } from './helpers/pages.ts';

export function restoreCommand(): Command {
  return new Command('restore')
    .description('rebuild an empty log from an export, with the same revisions; stop every registry first')
    .argument('<file>', 'a file from "signalbox export"')
    .option('--key <public.pem>', 'refuse an export that was not signed with the private key of this pair')
    .option('--generation <number>', 'lowest generation to use, if this export was restored before', count)
    .option('--yes', 'do not ask for confirmation')
    .addHelpText('after', '\nExample:\n  NATS_URL=nats://admin:…@nats:4222 signalbox restore registry.jsonl')
    .action(async (path: string, { key, generation, yes }) => {
      const { restoreLog, verifyExport } = await import('../proof/restore.ts');
      const file = await open(path);
      const chain = await verifyExport(file, key === undefined ? undefined : await readPublicKey(key));
      for (const finding of findingsOf(chain)) notify(clean(finding));
      notify(`${path} is complete: ${chain.revision} revisions, exported at ${file.ending().checkpoint.time}.`);
      if (!yes) await confirm();
      const { nats, close } = await openLogAlone();
      try {
        const progress = progressBar('Restoring', revisions);
        const restored = await restoreLog(nats, file, { generation, progress });
        printLine(`Restored the log to revision ${chain.revision}, as generation ${restored}.`);
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
    throw new WrongUsage(
      `There is no file ${path}. To put an archived version back into use, run "signalbox unarchive".`,
    );
  }
}

async function confirm(): Promise<void> {
  if (!process.stdin.isTTY) throw new WrongUsage('Add --yes to confirm that every registry on this log is stopped.');
  if (await confirmed('Is every registry on this log stopped?')) return;
  throw new WrongUsage('Not confirmed. Nothing was changed.');
}
