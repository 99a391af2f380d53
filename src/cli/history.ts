import { Command, Option } from 'commander';
import type { EventView } from '../api/views.ts';
import { EVENT_TYPES } from '../domain/events.ts';
import { openConnection, withConnection } from './helpers/connection.ts';
import { printJson, printTable } from './helpers/output.ts';
import { count, pages } from './helpers/pages.ts';

export function historyCommand(): Command {
  return withConnection(new Command('history'))
    .description('list the events of a model, or of all, newest first')
    .addOption(new Option('--type <type>', 'only this type of event').choices(EVENT_TYPES))
    .option('-e, --env <environment>', 'only events of this environment')
    .option('--of <version>', 'only events that name this version')
    .option('--actor <name>', 'only events of this actor')
    .option('--reason <words>', 'only events whose reason contains these words')
    .option('--all-models', 'the events of every model that you may read')
    .option('--since <time>', 'only events at or after this time, such as 2026-03-03T14:05:00Z')
    .option('--until <time>', 'only events at or before this time')
    .option('-n, --limit <count>', 'maximum number of events', count, 50)
    .addHelpText('after', '\nExample:\n  signalbox history --env production --type version.rolled_back')
    .action(async ({ env: environment, of: version, allModels, limit, json, ...rest }) => {
      const { type, actor, reason, since, until, ...options } = rest;
      const { client, base } = openConnection(options);
      const query = { type, environment, version, actor, reason, since, until };
      const path = allModels ? '/api/history' : `${base}/history`;
      const events = await pages<Event>(client, path, 'events', query, limit);
      if (json) return printJson({ events });
      const columns = ['REVISION', 'TIME', 'ACTOR', 'WHAT', 'REASON'];
      if (!allModels) return printTable(columns, events.map(row));
      printTable(
        ['MODEL', ...columns],
        events.map((event) => [event.model ?? null, ...row(event)]),
      );
    });
}

/** Events of all models name theirs. */
type Event = EventView & { model?: string };

function row({ revision, time, actor, type, data }: EventView) {
  const what = [
    type,
    data.version,
    data.environment && `in ${data.environment}`,
    data.previous && `after ${data.previous}`,
  ];
  return [revision, time, actor, what.filter(Boolean).join(' '), String(data.reason ?? '-')];
}
