import { Command, Option } from 'commander';
import type { EventView } from '../api/views.ts';
import { EVENT_TYPES } from '../domain/events.ts';
import { openConnection, withConnection } from './helpers/connection.ts';
import { printJson, printTable } from './helpers/output.ts';
import { count, pages } from './helpers/pages.ts';

export function historyCommand(): Command {
  return withConnection(new Command('history'))
    .description('list the events of a model, newest first')
    .addOption(new Option('--type <type>', 'only this type of event').choices(EVENT_TYPES))
    .option('-e, --env <environment>', 'only events of this environment')
    .option('--of <version>', 'only events that name this version')
    .option('--actor <name>', 'only events of this actor')
    .option('--since <time>', 'only events at or after this time, such as 2026-03-03T14:05:00Z')
    .option('--until <time>', 'only events at or before this time')
    .option('-n, --limit <count>', 'maximum number of events', count, 50)
    .addHelpText('after', '\nExample:\n  signalbox history --env production --type version.rolled_back')
    .action(async ({ type, env: environment, of: version, actor, since, until, limit, json, ...options }) => {
      const { client, base } = openConnection(options);
      const query = { type, environment, version, actor, since, until };
      const events = await pages<EventView>(client, `${base}/history`, 'events', query, limit);
      if (json) return printJson({ events });
      printTable(['REVISION', 'TIME', 'ACTOR', 'WHAT', 'REASON'], events.map(row));
    });
}

function row({ revision, time, actor, type, data }: EventView) {
  const what = [
    type,
    data.version,
    data.environment && `in ${data.environment}`,
    data.previous && `after ${data.previous}`,
  ];
  return [revision, time, actor, what.filter(Boolean).join(' '), String(data.reason ?? '-')];
}
