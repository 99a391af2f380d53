import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Command, Option } from 'commander';
import { Problem } from '../domain/errors.ts';
import { openConnection } from './helpers/connection.ts';
import { notify } from './helpers/output.ts';
import { untilStopped } from './helpers/signals.ts';

export function agentCommand(): Command {
  return new Command('agent')
    .description('keep <dir>/current at the active version, for a service that opens <dir>/current/model.joblib')
    .addOption(new Option('-m, --model <name>', 'the model').env('REGISTRY_MODEL').default('default'))
    .requiredOption('-e, --env <environment>', 'the environment, such as production')
    .requiredOption('--dir <folder>', 'the folder that holds "current"')
    .option('--python <interpreter>', 'the service’s Python; must satisfy the model’s requirements')
    .option('--on-change <command or url>', 'a command to run or a URL to POST to after each change')
    .option('--volume <folder>', 'the registry’s volume, if it is mounted: files are read from there')
    .addHelpText(
      'after',
      '\nExample:\n  signalbox agent -m fraud -e production --dir /models --python /usr/bin/python3 --on-change "systemctl reload scorer"',
    )
    .action(async ({ model, env: environment, dir: folder, python, onChange, volume }) => {
      const [{ startAgent }, { createLogger }] = await Promise.all([
        import('../loader/agent.ts'),
        import('../telemetry.ts'),
      ]);
      await checkFollowable(model, environment, folder);
      const stopped = untilStopped();
      const log = createLogger();
      const agent = await startAgent({ model, environment, folder, python, onChange, volume, log });
      notify(`Following ${model} in ${environment}: the service opens ${folder}/current`);
      await stopped;
      await agent.close();
    });
}

const ANSWER_WITHIN_MS = 5_000;

/** What the agent does next, by problem code. */
const NEXT: Partial<Record<string, string>> = {
  'unknown-environment': 'The last good version stays in service.',
  'unknown-model': 'The agent follows it as soon as it is published.',
  'no-active-version': 'The agent loads the first version that becomes active.',
};

/**
 * Checks once that the model can be followed. The agent waits for a registry that does not answer and for a model that is
 * not published yet. It would wait for a misspelled environment forever.
 *
 * @throws {Problem} unknown-environment, unless this folder keeps a version that must stay in service
 */
async function checkFollowable(model: string, environment: string, folder: string): Promise<void> {
  const { client, base } = openConnection({ model });
  const get = (path: string) =>
    client.call('GET', base + path, { query: { environment }, signal: AbortSignal.timeout(ANSWER_WITHIN_MS) });
  try {
    await get('/loaders');
    await get('/versions/active');
  } catch (error) {
    const code = error instanceof Problem ? error.code : null;
    const kept = existsSync(join(folder, '.signalbox', 'last-good', `${model}.${environment}.json`));
    if (code === 'unknown-environment' && !kept) throw error;
    const next = code && NEXT[code];
    if (next) notify(`${(error as Problem).message} ${next}`);
  }
}
