import { Command, InvalidArgumentError } from 'commander';
import { parseStoreAddress, type StoreAddress } from '../artifacts/address.ts';
import { type Copied, copyBlobs } from '../artifacts/copy.ts';
import { artifactVariables, readConfig } from '../config.ts';
import { sentenceOf } from '../files/system-error.ts';
import type { CommandStore } from '../serve/stores.ts';
import { WrongUsage } from './helpers/failure.ts';
import { openLogShared } from './helpers/log.ts';
import { megabytes, notify, printJson, printLine, transferBar } from './helpers/output.ts';
import { stopOnSignal } from './helpers/signals.ts';
import { sizeOf } from './helpers/stores.ts';

interface CopyCommandOptions {
  from: StoreAddress;
  to: StoreAddress;
  verify?: boolean;
  json?: true;
}

const COPY_HELP = `
A store is an address as in REGISTRY_ARTIFACTS; file: is the volume in REGISTRY_VOLUME. Both may be in use: run the command again
until it copies nothing.

Examples:
  signalbox artifacts copy --from file: --to s3://models/prod
  signalbox artifacts copy --from s3://models/prod --to file:/mnt/models --verify`;

export function artifactsCommand(): Command {
  return new Command('artifacts').description('move the bytes of artifacts; docs/moving.md').addCommand(copyCommand());
}

function copyCommand(): Command {
  return new Command('copy')
    .description('copy the artifacts that a store lacks from another one')
    .requiredOption('--from <store>', 'the store to read', storeAddress)
    .requiredOption('--to <store>', 'the store to write to', storeAddress)
    .option('--verify', 'also read what the target has already, and replace what is damaged')
    .option('--json', 'print the result as JSON')
    .addHelpText('after', COPY_HELP)
    .action(copy);
}

async function copy({ from, to, verify = false, json }: CopyCommandOptions): Promise<void> {
  const signal = stopOnSignal();
  try {
    const result = await withStores(from, to, async (source, target) => {
      const total = await sizeOf(source.store, signal);
      const progress = transferBar('Copying', total);
      const copied = await copyBlobs({ from: source.store, to: target.store, verify, signal, progress });
      progress(Number.POSITIVE_INFINITY);
      report(copied, source.name, target.name, json);
      return copied;
    });
    check(result);
  } catch (error) {
    throw signal.aborted ? signal.reason : error;
  }
}

async function withStores<T>(
  from: StoreAddress,
  to: StoreAddress,
  use: (source: CommandStore, target: CommandStore) => Promise<T>,
): Promise<T> {
  const [{ checkSource, openCommandStore, passOwner, placeOf }, { openWriter }] = await Promise.all([
    import('../serve/stores.ts'),
    import('../artifacts/writer.ts'),
  ]);
  const { REGISTRY_VOLUME: volume } = readConfig(artifactVariables, process.env);
  if (JSON.stringify(placeOf(from, volume)) === JSON.stringify(placeOf(to, volume)))
    throw new WrongUsage('--from and --to are the same store.');
  await checkSource(from, volume);
  const writer = openWriter();
  const opened: CommandStore[] = [];
  const open = async (address: StoreAddress) => {
    const store = await openCommandStore(address, { volume, openLog: openLogShared, writer });
    opened.push(store);
    return store;
  };
  try {
    const [source, target] = [await open(from), await open(to)];
    await passOwner(source, target);
    return await use(source, target);
  } finally {
    for (const store of opened.reverse()) await store.close();
    await writer.close();
  }
}

function report(result: Copied, from: string, to: string, json?: true): void {
  const failed = result.failed.map(({ digest, error }) => ({ digest, reason: sentenceOf(error) }));
  for (const digest of result.damaged) notify(`${digest} is damaged in ${from}, and was not copied.`);
  for (const { digest, reason } of failed) notify(`${digest} was not copied: ${reason}`);
  if (json) {
    printJson({ from, to, ...result, failed });
    return;
  }
  const { copied, copied_bytes, there, gone, damaged } = result;
  printLine(`Copied: ${copied} (${megabytes(copied_bytes)}). There already: ${there}. Deleted meanwhile: ${gone}.`);
  if (copied === 0 && damaged.length === 0 && failed.length === 0) printLine(`${to} has everything that ${from} has.`);
}

/** @throws {Error} if not everything was copied */
function check({ damaged, failed }: Copied): void {
  if (damaged.length > 0) {
    throw new Error(`Damaged: ${damaged.length}. To restore them, run "signalbox scrub" on that store.`);
  }
  if (failed[0]) throw failed[0].error;
}

function storeAddress(text: string): StoreAddress {
  try {
    return parseStoreAddress(text);
  } catch (error) {
    throw new InvalidArgumentError(`It ${(error as Error).message}.`);
  }
}
