import { Command, Option } from 'commander';
import { describeFolder } from '../artifacts/describe.ts';
import { publishFolder } from '../client/publish.ts';
import { WrongUsage } from './failure.ts';
import { printJson, printLine, progressBar } from './output.ts';
import { openSession, withSession } from './session.ts';

export function publishVerb(): Command {
  return withSession(new Command('publish'))
    .description('publish a folder as a version')
    .argument('<folder>', 'the files; metadata.json, MLmodel and requirements.txt among them are read')
    .addOption(new Option('--version <version>', 'the version').conflicts('bump'))
    .addOption(new Option('--bump <part>', 'the version after the highest').choices(['major', 'minor', 'patch']))
    .option('--notes <text>', 'notes to go with it')
    .addHelpText(
      'after',
      '\nExamples:\n  signalbox publish ./out --version 1.2.0\n  signalbox publish ./out --bump minor -m fraud',
    )
    .action(async (folder: string, { version, bump, notes, json, ...options }) => {
      if (version === undefined && bump === undefined) throw new WrongUsage('Give --version or --bump.');
      const { client, model } = openSession(options);
      const manifest = await describeFolder(folder);
      const progress = progressBar('Sending');
      const published = await publishFolder(client, { model, folder, manifest, version, bump, notes, progress });
      if (json) printJson(published);
      else printLine(`${model} ${published.version} is published (revision ${published.revision}).`);
    });
}
