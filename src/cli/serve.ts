import { Command } from 'commander';
import { clientVariables, readConfig, serverVariables } from '../config.ts';
import { notify } from './helpers/output.ts';

export function serveCommand(): Command {
  return new Command('serve')
    .description('run the registry; docs/configuration.md lists its variables')
    .addHelpText('after', '\nExample:\n  PORT=9000 REGISTRY_VOLUME=/srv/models signalbox serve')
    .action(async () => {
      const [{ serve }, { createLogger }, { localUrl }] = await Promise.all([
        import('../serve.ts'),
        import('../telemetry.ts'),
        import('../setup/address.ts'),
      ]);
      const stopped = Promise.withResolvers<void>();
      let serving = false;
      for (const signal of ['SIGINT', 'SIGTERM'] as const) {
        // A start can take minutes if nats-server must be downloaded. Before it ends, nothing is acknowledged that could be lost.
        process.once(signal, () => (serving ? stopped.resolve() : process.exit(1)));
      }
      const config = readConfig(serverVariables, process.env);
      const server = await serve({ config, log: createLogger(), progress: notify });
      serving = true;
      notify(`Signalbox serves on ${server.url} (API: ${server.url}/docs)`);
      const local = localUrl({ HOST: config.HOST, PORT: Number(new URL(server.url).port || 80) });
      if (!process.env.REGISTRY_DSN && local !== clientVariables.shape.REGISTRY_DSN.parse(undefined)) {
        notify(`To use the command line with this registry: export REGISTRY_DSN=${local}`);
      }
      await stopped.promise;
      await server.close();
    });
}
