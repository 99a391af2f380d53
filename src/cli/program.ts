import { Command } from 'commander';
import { loadEnvFile } from '../setup/env-file.ts';
import { version } from '../version.ts';
import { activateVerb } from './activate.ts';
import { agentVerb } from './agent.ts';
import { archiveVerb, unarchiveVerb } from './archive.ts';
import { checkpointVerb } from './checkpoint.ts';
import { deactivateVerb } from './deactivate.ts';
import { doctorVerb } from './doctor.ts';
import { exportVerb } from './export.ts';
import { gatewayVerb } from './gateway.ts';
import { failed } from './helpers/failure.ts';
import { tell } from './helpers/output.ts';
import { historyVerb } from './history.ts';
import { importVerb } from './import.ts';
import { initVerb } from './init.ts';
import { keyVerb } from './key.ts';
import { latestVerb } from './latest.ts';
import { listVerb } from './list.ts';
import { loadersVerb } from './loaders.ts';
import { notesVerb } from './notes.ts';
import { publishVerb } from './publish.ts';
import { replayVerb } from './replay.ts';
import { restoreVerb } from './restore.ts';
import { rollbackVerb } from './rollback.ts';
import { runtimeVerb } from './runtime.ts';
import { serveVerb } from './serve.ts';
import { showVerb } from './show.ts';
import { tokenVerb } from './token.ts';

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
  initVerb,
  doctorVerb,
  serveVerb,
  publishVerb,
  importVerb,
  activateVerb,
  rollbackVerb,
  deactivateVerb,
  notesVerb,
  archiveVerb,
  unarchiveVerb,
  listVerb,
  showVerb,
  latestVerb,
  historyVerb,
  replayVerb,
  exportVerb,
  restoreVerb,
  checkpointVerb,
  loadersVerb,
  runtimeVerb,
  agentVerb,
  tokenVerb,
  keyVerb,
  gatewayVerb,
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
