import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Command } from 'commander';
import { replaceFile } from '../files/replace.ts';
import { addMessage, type Chain, emptyChain, findingsOf, noteGap } from '../proof/chain.ts';
import { checkLog, type NamedCheckpoint, type Verdict } from '../proof/check.ts';
import { type Checkpoint, checkpointOf, signCheckpoint, verifyCheckpoint } from '../proof/checkpoint.ts';
import { generateKeyPair, readPrivateKey, readPublicKey } from '../proof/checkpoint-key.ts';
import { HistoryBroken, type LogSource } from '../proof/source.ts';
import { withLogSource } from './helpers/log.ts';
import { clean, notify, printLine, printLines, printTable, progressBar, revisions } from './helpers/output.ts';

export function checkpointCommand(): Command {
  return new Command('checkpoint')
    .description('sign the state of the log, and check the log against it later; docs/proof.md')
    .addCommand(keyCommand())
    .addCommand(saveCommand())
    .addCommand(checkCommand())
    .addHelpText('after', '\nExample:\n  signalbox checkpoint key private.pem public.pem');
}

function keyCommand(): Command {
  return new Command('key')
    .description('create an Ed25519 key pair; do not keep the private key on the machine of the log')
    .argument('<private.pem>')
    .argument('[public.pem]', 'default: standard output')
    .action(async (privatePath: string, publicPath?: string) => {
      const { privatePem, publicPem } = generateKeyPair();
      // Never replaces a key: nothing could be signed with the old one again.
      await writeFile(privatePath, privatePem, { mode: 0o600, flag: 'wx' });
      if (publicPath === undefined) printLines(publicPem.trimEnd());
      else await writeFile(publicPath, publicPem, { flag: 'wx' });
    });
}

function saveCommand(): Command {
  return new Command('save')
    .description('sign the current state of the log')
    .argument('<file>')
    .requiredOption('--key <private.pem>', 'an Ed25519 private key')
    .addHelpText('after', '\nExample:\n  signalbox checkpoint save today.jws --key private.pem')
    .action(async (path: string, { key: keyFile }) => {
      const key = await readPrivateKey(keyFile);
      const chain = await withLogSource(undefined, readAll);
      const checkpoint = checkpointOf(chain, new Date());
      const jws = await signCheckpoint(checkpoint, key);
      await replaceFile(path, `${jws}\n`, 0o644);
      const { revision, generation, models } = checkpoint;
      printLine(`Signed revision ${revision} of generation ${generation} in ${path}. Models: ${models}.`);
      for (const finding of findingsOf(chain)) notify(clean(finding));
    });
}

async function readAll(source: LogSource): Promise<Chain> {
  const progress = progressBar('Reading', revisions);
  const chain = emptyChain(source.generation);
  for await (const batch of source.batches()) {
    for (const message of batch) addMessage(chain, message);
    progress(chain.revision, source.head);
  }
  noteGap(chain, source.head);
  return chain;
}

function checkCommand(): Command {
  return new Command('check')
    .description('check that the log still matches a checkpoint, or every checkpoint of a folder')
    .argument('<file>', 'a checkpoint, or a folder of checkpoints')
    .requiredOption('--key <public.pem>', 'the public key of the pair that signed them')
    .option('--file <export.jsonl>', 'read an exported log instead of the stream')
    .addHelpText('after', '\nExample:\n  signalbox checkpoint check checkpoints/ --key public.pem')
    .action(async (path: string, { key: keyFile, file }) => {
      const key = await readPublicKey(keyFile);
      const jwss = await readCheckpoints(path);
      const opened = await Promise.all(jwss.map(({ name, jws }) => open(name, verifyCheckpoint(jws, key))));
      const genuine = opened.filter((one) => 'checkpoint' in one);
      const forged = opened.filter((one) => 'why' in one);
      const { verdicts, chain } = await withLogSource(file, (source) =>
        checkLog(source, genuine, progressBar('Checking', revisions)),
      );
      report([...forged, ...verdicts], chain);
    });
}

interface Refused {
  name: string;
  why: string;
}

async function open(name: string, verifying: Promise<Checkpoint>): Promise<NamedCheckpoint | Refused> {
  try {
    return { name, checkpoint: await verifying };
  } catch (error) {
    if (error instanceof HistoryBroken) return { name, why: error.message };
    throw error;
  }
}

function report(checked: (Refused | Verdict)[], chain: Chain): void {
  const rows = checked.map((one) => {
    const revision = 'checkpoint' in one ? one.checkpoint.revision : null;
    return [one.name, revision, one.why === null ? agreement(one, chain) : `refused: ${one.why}`];
  });
  printTable(['CHECKPOINT', 'REVISION', 'THE LOG'], rows);
  const findings = findingsOf(chain);
  for (const finding of findings) printLine(clean(finding));
  const refused = checked.filter(({ why }) => why !== null).length;
  if (refused > 0) throw new HistoryBroken(`${refused} of ${checked.length} checkpoints do not match the log.`);
  if (findings.length > 0) throw new HistoryBroken('The log matches the checkpoints, but it is not complete.');
}

function agreement(verdict: Refused | Verdict, { generation }: Chain): string {
  const restored = 'checkpoint' in verdict && verdict.checkpoint.generation < generation;
  return restored ? `agrees; the log was restored since then, as generation ${generation}` : 'agrees';
}

const MAX_CHECKPOINT_BYTES = 64 * 1024;

async function readCheckpoints(path: string): Promise<{ name: string; jws: string }[]> {
  const isFolder = (await stat(path)).isDirectory();
  const names = isFolder ? (await readdir(path)).filter((name) => name.endsWith('.jws')).sort() : [path];
  if (names.length === 0) throw new Error(`${path} contains no checkpoints (*.jws).`);
  return Promise.all(names.map(async (name) => ({ name, jws: await readSmall(isFolder ? join(path, name) : path) })));
}

async function readSmall(path: string): Promise<string> {
  const { size } = await stat(path);
  return size > MAX_CHECKPOINT_BYTES ? '' : (await readFile(path, 'utf8')).trim();
}
