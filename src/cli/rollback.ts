import { Command } from 'commander';
import type { MoveView } from '../api/views.ts';
import { confirmed } from './helpers/confirm.ts';
import { openConnection, withConnection } from './helpers/connection.ts';
import { printMove, withEnvironment } from './helpers/moved.ts';
import { notify } from './helpers/output.ts';
import { waitForLoaders, withWait } from './helpers/wait.ts';

export function rollbackCommand(): Command {
  return withWait(withEnvironment(withConnection(new Command('rollback'))))
    .description('undo the newest activation or deactivation of an environment')
    .requiredOption('--reason <text>', 'the reason, recorded in the history')
    .option('--to <version>', 'return to the last time this version was active')
    .option(
      '--override-runtime',
      'roll back even if the declared runtime does not satisfy the version; recorded in the history',
    )
    .option('--dry-run', 'print what would happen and change nothing')
    .option('-y, --yes', 'do not ask for confirmation')
    .addHelpText('after', '\nExample:\n  signalbox rollback --env production --reason "recall dropped"')
    .action(
      async ({ env: environment, reason, to: to_version, overrideRuntime, dryRun, yes, wait, json, ...options }) => {
        const connection = openConnection(options);
        const { client, base } = connection;
        const override = overrideRuntime ? ['runtime'] : undefined;
        const rollBack = (more: object) =>
          client.call<MoveView>('POST', `${base}/rollback`, {
            json: { environment, reason, to_version, override, ...more },
          });
        const plan = await rollBack({ dry_run: true });
        if (dryRun) return printMove(plan, json);
        const from = plan.previous?.version ?? null;
        notify(`This takes ${environment} from ${from ?? 'none'} back to ${plan.active?.version ?? 'none'}.`);
        if (!yes && process.stdin.isTTY && !(await confirmed('Continue?')))
          throw new Error('Not confirmed. Nothing was changed.');
        const move = await rollBack({ expected_active: from });
        printMove(move, json);
        const { revision, active } = move;
        if (wait)
          await waitForLoaders(connection, { environment, version: active?.version ?? null, revision }, wait, json);
      },
    );
}
