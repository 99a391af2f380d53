import { Command } from 'commander';
import { notify } from './helpers/output.ts';
import { untilStopped } from './helpers/signals.ts';

export function gatewayCommand(): Command {
  return new Command('gateway')
    .description('serve /admin/models and /admin/models/latest to callers with an API key; docs/security.md')
    .addHelpText(
      'after',
      '\nExample:\n  REGISTRY_DSN=https://registry REGISTRY_TOKEN=$(signalbox key create edge --allow gateway) signalbox gateway',
    )
    .action(async () => {
      const [{ startGateway }, { createLogger }, { gatewayVariables, readConfig }] = await Promise.all([
        import('../gateway.ts'),
        import('../telemetry.ts'),
        import('../config.ts'),
      ]);
      const stopped = untilStopped();
      const gateway = await startGateway({ config: readConfig(gatewayVariables, process.env), log: createLogger() });
      notify(`The gateway serves on ${gateway.url}`);
      await stopped;
      await gateway.close();
    });
}
