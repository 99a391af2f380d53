import { Command } from 'commander';
import { parseStoreAddress } from '../artifacts/address.ts';
import { artifactVariables, readConfig } from '../config.ts';
import type { Digest } from '../domain/digest.ts';
import { Problem } from '../domain/errors.ts';
import { sentenceOf } from '../files/system-error.ts';
import type { Scrubbed, ScrubbedBlob, ScrubOptions } from '../serve/scrub.ts';
import { BytesLost } from './helpers/failure.ts';
import { openLogShared, withLogSource } from './helpers/log.ts';
import { megabytes, notify, printJson, printLine, printTable, transferBar } from './helpers/output.ts';
import { sizeOf } from './helpers/stores.ts';

const HELP = `
Reads the store of REGISTRY_ARTIFACTS and its copies on the volume of REGISTRY_VOLUME. Repairs each from the other, and a volume
without a store from the folders of versions. A registry may run meanwhile. Exits with 7 if bytes are lost or missing.

Examples:
  signalbox scrub
  REGISTRY_ARTIFACTS=s3://models/prod REGISTRY_VOLUME=/srv/models signalbox scrub --json`;

export function scrubCommand(): Command {
  return new Command('scrub')
    .description('read all artifacts again, compare them with their digests, and repair what is damaged')
    .option('--json', 'print the result as JSON')
    .addHelpText('after', HELP)
    .action(async ({ json }: { json?: true }) => {
      const referenced = await readReferences();
      const result = await scrub(referenced);
      report(result, referenced !== null, json);
      check(result);
    });
}

/** Returns what versions refer to; null if the log cannot be read. */
async function readReferences(): Promise<Set<Digest> | null> {
  const { referencesIn } = await import('../serve/references.ts');
  try {
    const { digests, unread } = await withLogSource(undefined, referencesIn);
    if (unread > 0) notify(`Events that cannot be read: ${unread}. What they refer to was not looked for.`);
    return digests;
  } catch (error) {
    if (!(error instanceof Problem) || !['log-unavailable', 'not-found'].includes(error.code)) throw error;
    notify(`${error.message} Only artifacts that are in the store are checked, not whether any are missing.`);
    return null;
  }
}

async function scrub(referenced: Set<Digest> | null): Promise<Scrubbed> {
  const [{ scrubStores }, { openScrubbed }, { openWriter }] = await Promise.all([
    import('../serve/scrub.ts'),
    import('../serve/stores.ts'),
    import('../artifacts/writer.ts'),
  ]);
  const { REGISTRY_VOLUME: volume, REGISTRY_ARTIFACTS: address } = readConfig(artifactVariables, process.env);
  const writer = openWriter();
  const { signal } = new AbortController(); // A signal ends the process: what it leaves is repaired by a repetition.
  try {
    const { store, copies, close } = await openScrubbed(parseStoreAddress(address), {
      volume,
      openLog: openLogShared,
      writer,
    });
    try {
      const progress = transferBar('Reading', await sizeOf(store, signal));
      const readLog: ScrubOptions['readLog'] = (use) => withLogSource(undefined, use);
      const result = await scrubStores({ store, copies, volume, referenced, readLog, signal, progress });
      progress(Number.POSITIVE_INFINITY);
      return result;
    } finally {
      await close();
    }
  } finally {
    await writer.close();
  }
}

function report(result: Scrubbed, logRead: boolean, json?: true): void {
  const failed = result.failed.map(({ digest, error }) => ({ digest, reason: sentenceOf(error) }));
  if (json) {
    printJson({ log_read: logRead, ...result, blobs: result.blobs.map(view), failed });
    return;
  }
  if (result.blobs.length > 0) printTable(['DIGEST', 'RESULT', 'NEEDED BY'], result.blobs.map(row));
  for (const { digest, reason } of failed) notify(`${digest} could not be checked: ${reason}`);
  const { intact, restored, lost, missing, bytes } = result;
  printLine(
    `Read ${megabytes(bytes)}. Intact: ${intact}. Restored: ${restored}. Lost: ${lost}. Missing: ${missing}. Not checked: ${failed.length}.`,
  );
}

function view({ files, ...blob }: ScrubbedBlob) {
  return { ...blob, needed_by: files.map(({ model, version, name }) => ({ model, version, path: name })) };
}

function row({ digest, result, files }: ScrubbedBlob) {
  const [first, ...others] = files;
  const more = others.length > 0 ? ` and ${others.length} more` : '';
  return [digest, result, first ? `${first.model} ${first.version}: ${first.name}${more}` : null];
}

/** @throws {Error} if not everything is intact now */
function check({ lost, missing, failed }: Scrubbed): void {
  if (lost + missing > 0) {
    throw new BytesLost('Bytes are lost. Send them again, or copy them from a backup; docs/operating.md, "Scrubbing".');
  }
  if (failed[0]) throw failed[0].error;
}
