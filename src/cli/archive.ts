import { Command } from 'commander';
import type { VersionView } from '../api/views.ts';
import { openConnection, withConnection } from './helpers/connection.ts';
import { printJson, printLine } from './helpers/output.ts';

export function archiveCommand(): Command {
  return statusCommand('archive', 'archive', 'take a version out of use; it cannot be activated or be latest');
}

export function unarchiveCommand(): Command {
  return statusCommand('unarchive', 'restore', 'put an archived version back into use');
}

function statusCommand(name: string, action: 'archive' | 'restore', description: string): Command {
  return withConnection(new Command(name))
    .description(description)
    .argument('<version>')
    .option('--reason <text>', 'the reason, recorded in the history')
    .addHelpText('after', `\nExample:\n  signalbox ${name} 1.0.0 --reason "trained on a broken split"`)
    .action(async (version: string, { reason, json, ...options }) => {
      const { client, base } = openConnection(options);
      const path = `${base}/versions/${encodeURIComponent(version)}/${action}`;
      const state = await client.call<VersionView>('POST', path, { json: { reason } });
      if (json) printJson(state);
      else printLine(`${version} is ${state.status}.`);
    });
}
