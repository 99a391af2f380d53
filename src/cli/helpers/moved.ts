import type { Command } from 'commander';
import type { MoveView } from '../../api/views.ts';
import { clean, notify, printJson, printLine } from './output.ts';

/** Adds the option for the environment. It is required: a default could move the wrong environment. */
export function withEnvironment(command: Command): Command {
  return command.requiredOption('-e, --env <environment>', 'the environment, such as production');
}

/** Prints what an activation, rollback or deactivation did or would do. */
export function printMove(move: MoveView, json: boolean): void {
  if (json) {
    printJson(move);
    return;
  }
  const { environment, active, previous, dry_run, revision, warnings } = move;
  const name = (version: MoveView['active']) => version?.version ?? 'none';
  const did = dry_run ? 'would go' : 'went';
  const at = dry_run ? '' : ` (revision ${revision})`;
  printLine(`${environment} ${did} from ${name(previous)} to ${name(active)}${at}.`);
  for (const warning of warnings) notify(`Warning: ${clean(warning)}`);
}
