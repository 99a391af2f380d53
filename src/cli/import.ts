import { open } from 'node:fs/promises';
import { Command } from 'commander';
import type { VersionView } from '../api/views.ts';
import type { Statement } from '../bundle/statement.ts';
import { type Bundle, blobsOf, openBundle } from '../bundle/unpack.ts';
import type { RegistryClient } from '../client/client.ts';
import { missingBlobs, sendBlob } from '../client/publish.ts';
import { clientVariables, readConfig } from '../config.ts';
import { activateVersion } from './activate.ts';
import { openConnection, readSigningKey } from './helpers/connection.ts';
import { printLine, progressBar } from './helpers/output.ts';

export function importCommand(): Command {
  return new Command('import')
    .description('carry out what a bundle of "signalbox publish --offline" says')
    .argument('<bundle>', 'the file; REGISTRY_SIGNING_KEY must be the key that it is signed with')
    .option('--dry-run', 'verify the bundle and tell what it says, and ask nobody')
    .addHelpText('after', '\nExample:\n  signalbox import bundle.tar')
    .action(async (path: string, { dryRun }) => {
      const key = readSigningKey(readConfig(clientVariables, process.env));
      const file = await open(path);
      try {
        const bundle = await openBundle(file, key, new Date(), progressBar('Verifying'));
        if (dryRun) printLine(`The bundle is whole. ${wishOf(bundle.statement)}`);
        else await carryOut(bundle);
      } finally {
        await file.close();
      }
    });
}

function wishOf({ model, version, activate, expires_at }: Statement): string {
  const activates = activate ? ` and activates it in ${activate.environment}` : '';
  return `It publishes ${model} ${version}${activates}, if it is imported before ${expires_at}.`;
}

/** Does nothing twice: what was stored of an earlier attempt is found by the nonce. */
async function carryOut(bundle: Bundle): Promise<void> {
  const { model, version, manifest, notes, activate, nonce } = bundle.statement;
  const connection = openConnection({ model });
  const { client, base } = connection;
  await sendBlobs(client, bundle);
  const once = (command: string) => ({ 'Idempotency-Key': `bundle-${nonce}-${command}` });
  const json = { ...manifest, version, notes: notes ?? undefined };
  const options = { json, headers: once('publish') };
  const { revision } = await client.call<VersionView>('POST', `${base}/versions`, options);
  printLine(`${model} ${version} is published (revision ${revision}).`);
  if (!activate) return;
  const { environment, reason } = activate;
  const body = { environment, reason: reason ?? undefined };
  await activateVersion(connection, version, body, { headers: once('activate') });
}

/** A bundle that changed since it was verified is refused by the registry, which verifies every blob. */
async function sendBlobs(client: RegistryClient, bundle: Bundle): Promise<void> {
  const lacking = await missingBlobs(client, bundle.blobs);
  if (lacking.length === 0) return;
  const digests = new Set(lacking.map(({ digest }) => digest));
  const total = lacking.reduce((sum, { size }) => sum + size, 0);
  const progress = progressBar('Sending');
  let sent = 0;
  for await (const { blob, bytes } of blobsOf(bundle)) {
    if (!digests.has(blob.digest)) continue;
    await sendBlob(client, bytes, blob, (count) => {
      sent += count;
      progress(sent, total);
    });
  }
}
