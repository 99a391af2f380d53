import { Command } from 'commander';
import type { VersionView } from '../api/views.ts';
import { openConnection, withConnection } from './helpers/connection.ts';
import { printJson, printLine } from './helpers/output.ts';

export function latestCommand(): Command {
  return withConnection(new Command('latest'))
    .description('print the latest version')
    .addHelpText('after', '\nExample:\n  signalbox activate "$(signalbox latest)" --env staging')
    .action(async ({ json, ...options }) => {
      const { client, base } = openConnection(options);
      const state = await client.call<VersionView>('GET', `${base}/versions/latest`);
      if (json) printJson(state);
      else printLine(state.version);
    });
}
