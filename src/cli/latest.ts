import { Command } from 'commander';
import type { VersionView } from '../api/views.ts';
import { openSession, withSession } from './helpers/connection.ts';
import { printJson, printLine } from './helpers/output.ts';

export function latestVerb(): Command {
  return withSession(new Command('latest'))
    .description('print the latest version')
    .addHelpText('after', '\nExample:\n  signalbox activate "$(signalbox latest)" --env staging')
    .action(async ({ json, ...options }) => {
      const { client, base } = openSession(options);
      const state = await client.call<VersionView>('GET', `${base}/versions/latest`);
      if (json) printJson(state);
      else printLine(state.version);
    });
}
