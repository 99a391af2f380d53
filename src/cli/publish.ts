import { Command, Option } from 'commander';
import { z } from 'zod';
import { publishFolder, publishManifest } from '../client/publish.ts';
import { Problem } from '../domain/errors.ts';
import { ModelName } from '../domain/names.ts';
import { Version } from '../domain/versions.ts';
import { openConnection, withConnection } from './helpers/connection.ts';
import { WrongUsage } from './helpers/failure.ts';
import { publishOffline } from './helpers/offline.ts';
import { printJson, printLine, progressBar } from './helpers/output.ts';
import { readFolder } from './helpers/read-folder.ts';
import { readReference } from './helpers/read-reference.ts';

export function publishCommand(): Command {
  return withConnection(new Command('publish'))
    .description('publish a folder, or objects that stay where they are, as a version')
    .argument('[folder]', 'the folder; metadata.json, MLmodel and requirements.txt in it describe the version')
    .option('--reference <address>', 'in place of a folder: objects below s3://bucket/prefix/, or a file at https://…')
    .addOption(new Option('--version <version>', 'the version').conflicts('bump'))
    .addOption(new Option('--bump <part>', 'the next version after the highest').choices(['major', 'minor', 'patch']))
    .option('--notes <text>', 'notes for the version')
    .addOption(
      new Option('--offline <bundle>', 'write a signed bundle for "signalbox import"').conflicts(['bump', 'reference']),
    )
    .option('--activate <environment>', 'with --offline: activate the version there on import')
    .option('--reason <text>', 'with --activate: reason for the activation')
    .option('--days <count>', 'with --offline: lifetime of the bundle in days, up to 30 (default: 30)', Number)
    .addHelpText(
      'after',
      '\nExamples:\n  signalbox publish ./out --version 1.2.0\n  signalbox publish ./out --bump minor -m fraud' +
        '\n  signalbox publish --reference s3://datasets/fraud/ --version 1.2.0' +
        '\n  signalbox publish ./out --version 1.2.0 --offline bundle.tar --activate production --reason "tried on site"',
    )
    .action(async (folder: string | undefined, { activate, reason, days, ...given }) => {
      if ((folder === undefined) === (given.reference === undefined))
        throw new WrongUsage('Give a folder or --reference.');
      if (given.offline !== undefined) return publishOffline(folder!, { ...given, activate, reason, days });
      if (activate ?? reason ?? days) throw new WrongUsage('--activate, --reason and --days require --offline.');
      const { version, bump, notes, json, reference, ...options } = given;
      if (version === undefined && bump === undefined) throw new WrongUsage('Give --version or --bump.');
      const { client, model } = openConnection(options);
      checkNames(model, version);
      const published = folder === undefined ? await referring() : await sending(folder);
      if (json) printJson(published);
      else printLine(`${model} ${published.version} is published (revision ${published.revision}).`);

      async function sending(folder: string) {
        const manifest = await readFolder(folder);
        const progress = progressBar('Sending');
        return publishFolder(client, { model, folder, manifest, version, bump, notes, progress });
      }

      async function referring() {
        return publishManifest(client, { model, manifest: await readReference(reference), version, bump, notes });
      }
    });
}

const Names = z.object({ model: ModelName, version: Version.optional() });

/** Checks the names before any file is read or sent. @throws {Problem} invalid-request */
function checkNames(model: string, version: string | undefined): void {
  const { error } = Names.safeParse({ model, version });
  if (!error) return;
  const wrong = error.issues.map(({ path, message }) => `The ${path.join('.')} ${message}.`);
  throw new Problem('invalid-request', wrong.join(' '));
}
