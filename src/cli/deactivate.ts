import { Command } from 'commander';
import type { MoveView } from '../api/views.ts';
import { openConnection, withConnection } from './helpers/connection.ts';
import { printMove, withEnvironment } from './helpers/moved.ts';

export function deactivateCommand(): Command {
  return withEnvironment(withConnection(new Command('deactivate')))
    .description('deactivate the active version of an environment')
    .requiredOption('--reason <text>', 'the reason, recorded in the history')
    .addHelpText('after', '\nExample:\n  signalbox deactivate --env staging --reason "trial finished"')
    .action(async ({ env: environment, reason, json, ...options }) => {
      const { client, base } = openConnection(options);
      const body = { environment, reason };
      printMove(await client.call<MoveView>('POST', `${base}/deactivate`, { json: body }), json);
    });
}
