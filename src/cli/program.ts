import { Command } from 'commander';
import { loadEnvFile } from '../setup/env-file.ts';
import { version } from '../version.ts';
import { activateCommand } from './activate.ts';
import { agentCommand } from './agent.ts';
import { archiveCommand, unarchiveCommand } from './archive.ts';
import { checkpointCommand } from './checkpoint.ts';
import { deactivateCommand } from './deactivate.ts';
import { doctorCommand } from './doctor.ts';
import { exportCommand } from './export.ts';
import { gatewayCommand } from './gateway.ts';
import { failed } from './helpers/failure.ts';
import { tell } from './helpers/output.ts';
import { historyCommand } from './history.ts';
import { importCommand } from './import.ts';
import { initCommand } from './init.ts';
import { keyCommand } from './key.ts';
import { latestCommand } from './latest.ts';
import { listCommand } from './list.ts';
import { loadersCommand } from './loaders.ts';
import { notesCommand } from './notes.ts';
import { publishCommand } from './publish.ts';
import { replayCommand } from './replay.ts';
import { restoreCommand } from './restore.ts';
import { rollbackCommand } from './rollback.ts';
import { runtimeCommand } from './runtime.ts';
import { serveCommand } from './serve.ts';
import { showCommand } from './show.ts';
import { tokenCommand } from './token.ts';

const EXIT_CODES = `
Exit codes: 0 done · 1 failed · 2 wrong usage · 3 refused by a rule or a permission · 4 not found · 5 the registry or its log is away ·
6 not every loader serves it · 7 the history does not verify`;

const program = new Command('signalbox')
  .description('A model registry whose only truth is an append-only log')
  .version(version)
  .addHelpText('after', EXIT_CODES)
  // So that --version behind a verb is the verb's own.
  .enablePositionalOptions()
  // Before the verb's own options are read, some of which come from variables.
  .hook('preSubcommand', () => loadEnvFile('.env', process.env, (line) => tell(`signalbox: ${line}`)))
  .exitOverride();

for (const verb of [
  initCommand,
  doctorCommand,
  serveCommand,
  publishCommand,
  importCommand,
  activateCommand,
  rollbackCommand,
  deactivateCommand,
  notesCommand,
  archiveCommand,
  unarchiveCommand,
  listCommand,
  showCommand,
  latestCommand,
  historyCommand,
  replayCommand,
  exportCommand,
  restoreCommand,
  checkpointCommand,
  loadersCommand,
  runtimeCommand,
  agentCommand,
  tokenCommand,
  keyCommand,
  gatewayCommand,
]) {
  program.addCommand(throwing(verb()));
}

/** Commander ends the process with 1 where it is not told to throw, and a verb of a verb is not told by that one. */
function throwing(verb: Command): Command {
  for (const part of verb.commands) throwing(part as Command);
  return verb.exitOverride();
}

// Whoever reads has read enough, as in `signalbox list | head`.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit();
});

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = failed(error);
}
