import { Command } from 'commander';
import { loadEnvFile } from '../setup/env-file.ts';
import { version } from '../version.ts';
import { activateCommand } from './activate.ts';
import { agentCommand } from './agent.ts';
import { archiveCommand, unarchiveCommand } from './archive.ts';
import { artifactsCommand } from './artifacts.ts';
import { checkpointCommand } from './checkpoint.ts';
import { deactivateCommand } from './deactivate.ts';
import { diffCommand } from './diff.ts';
import { doctorCommand } from './doctor.ts';
import { exportCommand } from './export.ts';
import { gatewayCommand } from './gateway.ts';
import { failed } from './helpers/failure.ts';
import { notify } from './helpers/output.ts';
import { historyCommand } from './history.ts';
import { importCommand } from './import.ts';
import { initCommand } from './init.ts';
import { keyCommand } from './key.ts';
import { latestCommand } from './latest.ts';
import { layCommand } from './lay.ts';
import { listCommand } from './list.ts';
import { loadersCommand } from './loaders.ts';
import { notesCommand } from './notes.ts';
import { publishCommand } from './publish.ts';
import { replayCommand } from './replay.ts';
import { restoreCommand } from './restore.ts';
import { rollbackCommand } from './rollback.ts';
import { runtimeCommand } from './runtime.ts';
import { scrubCommand } from './scrub.ts';
import { serveCommand } from './serve.ts';
import { showCommand } from './show.ts';
import { tokenCommand } from './token.ts';

const EXIT_CODES = `
Exit codes: 0 done · 1 failed · 2 wrong usage · 3 refused by a rule or for a missing permission · 4 not found ·
5 registry or log unavailable · 6 not every loader serves the version · 7 the history or the artifacts do not verify`;

const program = new Command('signalbox')
  .description('A self-hosted model registry on an append-only log')
  .version(version)
  .addHelpText('after', EXIT_CODES)
  // So that --version after a command is that command's option.
  .enablePositionalOptions()
  // Before the options of the command are read, as some have variables as defaults.
  .hook('preSubcommand', () => loadEnvFile('.env', process.env, (line) => notify(`signalbox: ${line}`)))
  .exitOverride();

// Commands import the server, the loader and NATS only in their actions, so that other commands start without them.
for (const create of [
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
  layCommand,
  listCommand,
  showCommand,
  diffCommand,
  latestCommand,
  historyCommand,
  replayCommand,
  exportCommand,
  restoreCommand,
  checkpointCommand,
  artifactsCommand,
  scrubCommand,
  loadersCommand,
  runtimeCommand,
  agentCommand,
  tokenCommand,
  keyCommand,
  gatewayCommand,
]) {
  program.addCommand(throwing(create()));
}

/** Without exitOverride Commander ends the process with 1. A subcommand does not inherit it. */
function throwing(command: Command): Command {
  for (const subcommand of command.commands) throwing(subcommand as Command);
  return command.exitOverride();
}

// The reader closed the pipe, as in `signalbox list | head`.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit();
});

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = failed(error);
}
