import { Command } from 'commander';
import type { VersionView } from '../api/views.ts';
import { openSession, withSession } from './helpers/connection.ts';
import { printJson, printLine } from './helpers/output.ts';

export function archiveVerb(): Command {
  return statusVerb('archive', 'archive', 'take a version out of use: not latest, and not to be activated');
}

export function unarchiveVerb(): Command {
  return statusVerb('unarchive', 'restore', 'put an archived version back into use');
}

function statusVerb(verb: string, action: 'archive' | 'restore', description: string): Command {
  return withSession(new Command(verb))
    .description(description)
    .argument('<version>')
    .option('--reason <text>', 'why')
    .addHelpText('after', `\nExample:\n  signalbox ${verb} 1.0.0 --reason "trained on a broken split"`)
    .action(async (version: string, { reason, json, ...options }) => {
      const { client, base } = openSession(options);
      const path = `${base}/versions/${encodeURIComponent(version)}/${action}`;
      const state = await client.call<VersionView>('POST', path, { json: { reason } });
      if (json) printJson(state);
      else printLine(`${version} is ${state.status}.`);
    });
}
