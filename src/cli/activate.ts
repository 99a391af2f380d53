import { Command } from 'commander';
import type { MoveView } from '../api/views.ts';
import { Problem } from '../domain/errors.ts';
import { type Connection, openConnection, withConnection } from './helpers/connection.ts';
import { printMove, withEnvironment } from './helpers/moved.ts';
import { printJson, printLine } from './helpers/output.ts';
import { waitForLoaders, withWait } from './helpers/wait.ts';

export function activateCommand(): Command {
  return withWait(withEnvironment(withConnection(new Command('activate'))))
    .description('activate a version in an environment')
    .argument('<version>')
    .option('--reason <text>', 'the reason, recorded in the history')
    .option('--expect <version>', 'refuse unless this version is active now; "none" for no active version')
    .option('--dry-run', 'print what would happen and change nothing')
    .option('--force', 'exceed the limit of activations per minute')
    .addHelpText('after', '\nExample:\n  signalbox activate 1.2.0 --env production --reason "better recall" --wait')
    .action(
      async (version: string, { env: environment, reason, expect, dryRun: dry_run, force, wait, json, ...options }) => {
        const connection = openConnection(options);
        const expected_active = expect === 'none' ? null : expect;
        const body = { environment, reason, expected_active, dry_run, force };
        const revision = await activateVersion(connection, version, body, { json });
        if (wait && !dry_run) await waitForLoaders(connection, { environment, version, revision }, wait, json);
      },
    );
}

/** Activates a version, or reports that it is already active. Returns the revision that activated it. */
export async function activateVersion(
  { client, base }: Connection,
  version: string,
  body: { environment: string; reason?: string | undefined },
  { json = false, headers = {} }: { json?: boolean; headers?: Record<string, string> },
): Promise<number> {
  try {
    const path = `${base}/versions/${encodeURIComponent(version)}/activate`;
    const move = await client.call<MoveView>('POST', path, { json: body, headers });
    printMove(move, json);
    return move.revision;
  } catch (error) {
    if (!(error instanceof Problem) || error.code !== 'already-active') throw error;
    if (json) printJson({ code: error.code, ...error.fields });
    else printLine(`${version} is already active in ${body.environment}.`);
    return Number(error.fields.revision);
  }
}
