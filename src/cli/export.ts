import { Command } from 'commander';
import { replaceFileWith } from '../files/replace.ts';
import { readPrivateKey } from '../proof/checkpoint-key.ts';
import { exportLog } from '../proof/export.ts';
import { withLogSource } from './helpers/log.ts';
import { clean, notify, progressBar, revisions } from './helpers/output.ts';

export function exportCommand(): Command {
  return new Command('export')
    .description('write the whole log as JSON lines, with the exact bytes of every event; docs/proof.md')
    .argument('[file]', 'the file to write; default: standard output', '-')
    .option('--key <private.pem>', 'sign the checkpoint at the end')
    .addHelpText('after', '\nExample:\n  signalbox export registry.jsonl --key private.pem')
    .action(async (path: string, { key: keyFile }) => {
      const key = keyFile === undefined ? undefined : await readPrivateKey(keyFile);
      await withLogSource(undefined, async (source) => {
        const options = { now: new Date(), key, progress: progressBar('Exporting', revisions) };
        const write = (to: (bytes: Buffer) => Promise<void>) => exportLog(source, { ...options, write: to });
        const { revision } = await (path === '-'
          ? write(toStandardOutput)
          : replaceFileWith(path, 0o600, (file) => write((bytes) => file.appendFile(bytes))));
        notify(`Exported ${revision} revisions of ${clean(source.name)}, generation ${source.generation}.`);
      });
    });
}

function toStandardOutput(bytes: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(bytes, (error) => (error ? reject(error) : resolve()));
  });
}
