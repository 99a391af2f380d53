import { Command } from 'commander';
import type { FleetView, LoaderView } from '../domain/fleet.ts';
import { openConnection, withConnection } from './helpers/connection.ts';
import { summaryOf } from './helpers/convergence.ts';
import { printJson, printLine, printTable } from './helpers/output.ts';

const TITLES = ['INSTANCE', 'ENVIRONMENT', 'STATE', 'CURRENT', 'TARGET', 'SINCE', 'HEARD', 'ERROR'];

export function loadersCommand(): Command {
  return withConnection(new Command('loaders'))
    .description('list the loaders of a model, and what each of them serves')
    .option('-e, --env <environment>', 'only loaders of this environment')
    .addHelpText('after', '\nExamples:\n  signalbox loaders\n  signalbox loaders --env production --json')
    .action(async ({ env: environment, json, ...options }) => {
      const { client, base } = openConnection(options);
      const fleet = await client.call<FleetView>('GET', `${base}/loaders`, { query: { environment } });
      if (json) return printJson(fleet);
      if (fleet.loaders.length === 0) return printLine('No loader is running.');
      printTable(
        TITLES,
        fleet.loaders.map((loader) => row(loader, Date.now())),
      );
      for (const [name, { total }] of Object.entries(fleet.environments)) {
        if (total > 0) printLine(summaryOf(name, fleet));
      }
    });
}

function row(
  { instance, environment, state, stale, current, target, since, reported_at, error }: LoaderView,
  now: number,
) {
  const versions = [current?.version ?? null, target?.version ?? null];
  return [
    instance,
    environment,
    stale ? `${state} (stale)` : state,
    ...versions,
    since,
    ago(reported_at, now),
    error?.message ?? null,
  ];
}

/** In seconds, as the registry forgets a loader after 90 s without a report. Negative ages from a clock difference show as 0. */
function ago(time: string, now: number): string {
  return `${Math.max(0, Math.round((now - Date.parse(time)) / 1000))} s ago`;
}
