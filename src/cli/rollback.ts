import { createInterface } from 'node:readline/promises';
import { Command } from 'commander';
import type { MoveView } from '../api/views.ts';
import { openConnection, withConnection } from './helpers/connection.ts';
import { printMove, withEnvironment } from './helpers/moved.ts';
import { tell } from './helpers/output.ts';
import { waitForLoaders, withWait } from './helpers/wait.ts';

export function rollbackCommand(): Command {
  return withWait(withEnvironment(withConnection(new Command('rollback'))))
    .description('undo the newest activation or deactivation of an environment')
    .requiredOption('--reason <text>', 'why')
    .option('--to <version>', 'back to the last time this version was active')
    .option('--override-runtime', 'even if the declared runtime cannot load the version; recorded')
    .option('--dry-run', 'tell what would happen, and change nothing')
    .option('-y, --yes', 'do not ask')
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
        tell(`This takes ${environment} from ${from ?? 'none'} back to ${plan.active?.version ?? 'none'}.`);
        if (!yes && process.stdin.isTTY && !(await agreed())) throw new Error('Nothing was changed.');
        const move = await rollBack({ expected_active: from });
        printMove(move, json);
        const { revision, active } = move;
        if (wait)
          await waitForLoaders(connection, { environment, version: active?.version ?? null, revision }, wait, json);
      },
    );
}

async function agreed(): Promise<boolean> {
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  const answer = await terminal.question('Go on? [y/N] ');
  terminal.close();
  return /^y(es)?$/i.test(answer.trim());
}
