import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Command, Option } from 'commander';
import { Problem } from '../domain/errors.ts';
import { openConnection } from './helpers/connection.ts';
import { tell } from './helpers/output.ts';
import { untilStopped } from './helpers/signals.ts';

export function agentCommand(): Command {
  return new Command('agent')
    .description('keep a folder at the active version, for a service that opens <dir>/current/model.joblib')
    .addOption(new Option('-m, --model <name>', 'the model').env('REGISTRY_MODEL').default('default'))
    .requiredOption('-e, --env <environment>', 'the environment, such as production')
    .requiredOption('--dir <folder>', 'where to keep "current"')
    .option('--python <interpreter>', 'the service’s own, whose versions must fit')
    .option('--on-change <command or url>', 'what to run, or to POST to, when it has changed')
    .option('--volume <folder>', 'the registry’s volume, where it is mounted: read files there')
    .addHelpText(
      'after',
      '\nExample:\n  signalbox agent -m fraud -e production --dir /models --python /usr/bin/python3 --on-change "systemctl reload scorer"',
    )
    .action(async ({ model, env: environment, dir: folder, python, onChange, volume }) => {
      // Loaded here, so that the other verbs start without the loader's parts.
      const [{ startAgent }, { createLogger }] = await Promise.all([
        import('../loader/agent.ts'),
        import('../telemetry.ts'),
      ]);
      await checkFollowable(model, environment, folder);
      const stopped = untilStopped();
      const log = createLogger();
      const agent = await startAgent({ model, environment, folder, python, onChange, volume, log });
      tell(`Following ${model} in ${environment}: the service opens ${folder}/current`);
      await stopped;
      await agent.close();
    });
}

const ANSWER_WITHIN_MS = 5_000;

/**
 * Asks the registry once whether there is anything to follow. A registry that does not answer is waited for, and so is a model
 * that was not published yet; a wrong environment would be waited for without end.
 *
 * @throws {Problem} unknown-environment, unless a version was kept here that must go on serving
 */
async function checkFollowable(model: string, environment: string, folder: string): Promise<void> {
  const { client, base } = openConnection({ model });
  const ask = (path: string) =>
    client.call('GET', base + path, { query: { environment }, signal: AbortSignal.timeout(ANSWER_WITHIN_MS) });
  try {
    await ask('/loaders');
    await ask('/versions/active');
  } catch (error) {
    const code = error instanceof Problem ? error.code : null;
    const kept = existsSync(join(folder, '.signalbox', 'last-good', `${model}.${environment}.json`));
    if (code === 'unknown-environment' && !kept) throw error;
    if (code === 'unknown-environment') tell(`${(error as Problem).message} The last good version serves on.`);
    if (code === 'unknown-model') tell(`${(error as Problem).message} It is followed as soon as it is published.`);
    if (code === 'no-active-version')
      tell(`${(error as Problem).message} The first one that becomes active is followed.`);
  }
}
