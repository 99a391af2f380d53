import { z } from 'zod';
import { pageOf } from '../../api/page.ts';
import { EventView } from '../../api/views.ts';
import { EVENT_TYPES } from '../../domain/events.ts';
import { EnvironmentName } from '../../domain/names.ts';
import { Version } from '../../domain/versions.ts';
import type { HistoryEntry } from '../../projections/registry.ts';
import { Paging, pageReply } from '../server/paging.ts';
import { route } from '../server/route.ts';
import { Time } from './at.ts';
import { findModel } from './find.ts';
import { ofModel } from './params.ts';
import { readEvents } from './read-event.ts';

const Filters = z.object({
  type: z.enum(EVENT_TYPES).optional(),
  environment: EnvironmentName.optional(),
  version: Version.optional().meta({ description: 'Events with this version as the new or the previous one' }),
  actor: z.string().max(200).optional(),
  since: Time.optional().meta({ format: 'date-time', description: 'Events at or after this time' }),
  until: Time.optional().meta({ format: 'date-time', description: 'Events at or before this time' }),
  ...Paging,
});

const history = route({
  method: 'GET',
  path: '/api/models/:model/history',
  permission: 'read',
  summary: 'The events of a model, newest first',
  params: ofModel,
  query: Filters,
  answer: { status: 200, schema: pageOf('events', EventView) },
  errors: ['unknown-model', 'log-unavailable'],
  async handle({ params, query }, services) {
    const entry = findModel(services, params.model);
    const { page_size, page_token, ...filters } = query;
    const listing = ['history', params.model, filters, services.registry().position.epoch];
    return pageReply({
      name: 'events',
      entries: newestFirst(entry.history, query),
      page_size,
      page_token,
      listing,
      views: (some) =>
        readEvents(
          some.map(({ revision }) => revision),
          services,
        ),
    });
  },
});

function* newestFirst(history: HistoryEntry[], query: z.output<typeof Filters>): Generator<HistoryEntry> {
  for (let i = history.length - 1; i >= 0; i--) if (matches(history[i]!, query)) yield history[i]!;
}

function matches(entry: HistoryEntry, query: z.output<typeof Filters>): boolean {
  const { type, environment, version, actor, since, until } = query;
  if (type !== undefined && entry.type !== type) return false;
  if (actor !== undefined && entry.actor !== actor) return false;
  if (entry.at < (since ?? -Infinity) || entry.at > (until ?? Infinity)) return false;
  if (environment !== undefined && entry.environment !== environment) return false;
  return version === undefined || entry.version === version || entry.previous === version;
}

export const historyRoutes = [history];
