import { Command, Option } from 'commander';
import { tell } from './output.ts';
import { untilStopped } from './signals.ts';

export function agentVerb(): Command {
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
      const stopped = untilStopped();
      const log = createLogger();
      const agent = await startAgent({ model, environment, folder, python, onChange, volume, log });
      tell(`Following ${model} in ${environment}: the service opens ${folder}/current`);
      await stopped;
      await agent.close();
    });
}
