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
    .description('publish, and activate if requested, the version of a bundle from "signalbox publish --offline"')
    .argument('<bundle>', 'the bundle; REGISTRY_SIGNING_KEY must be the key that signed it')
    .option('--dry-run', 'verify the bundle and print what it would do, without contacting the registry')
    .addHelpText('after', '\nExample:\n  signalbox import bundle.tar')
    .action(async (path: string, { dryRun }) => {
      const key = readSigningKey(readConfig(clientVariables, process.env));
      const file = await open(path);
      try {
        const bundle = await openBundle(file, key, new Date(), progressBar('Verifying'));
        if (dryRun) printLine(`The bundle is complete. ${effectOf(bundle.statement)}`);
        else await importBundle(bundle);
      } finally {
        await file.close();
      }
    });
}

function effectOf({ model, version, activate, expires_at }: Statement): string {
  const activates = activate ? ` and activates it in ${activate.environment}` : '';
  return `Importing it before ${expires_at} publishes ${model} ${version}${activates}.`;
}

/** Safe to repeat: the idempotency keys contain the bundle's nonce, so the registry recognizes an earlier attempt. */
async function importBundle(bundle: Bundle): Promise<void> {
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

/** The registry verifies every blob again, so it refuses a bundle that changed after its verification here. */
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
