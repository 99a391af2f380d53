import { z } from 'zod';
import { Problem } from '../domain/errors.ts';
import { EVENT_TYPES } from '../domain/events.ts';
import { EnvironmentName } from '../domain/names.ts';
import { Version } from '../domain/versions.ts';
import { EventView, eventView } from '../domain/views.ts';
import { decodeEvent } from '../log/codec.ts';
import type { HistoryEntry } from '../projections/registry.ts';
import { findModel } from './find.ts';
import { Paging, page, pageStart } from './paging.ts';
import { route } from './route.ts';
import type { Services } from './services.ts';
import { ofModel } from './versions.ts';

const Filters = z.object({
  type: z.enum(EVENT_TYPES).optional(),
  environment: EnvironmentName.optional(),
  version: Version.optional().meta({ description: 'Events that name this version, as the new or the previous one' }),
  ...Paging,
});

const history = route({
  method: 'GET',
  path: '/api/models/:model/history',
  permission: 'read',
  summary: 'Every event of a model, newest first',
  params: ofModel,
  query: Filters,
  answer: { status: 200, schema: z.object({ events: z.array(EventView), next_page_token: z.string().nullable() }) },
  errors: ['unknown-model', 'log-unavailable'],
  async handle({ params, query }, services) {
    const entry = findModel(services, params.model);
    const { type, environment, version } = query;
    const listing = ['history', params.model, type, environment, version, services.registry().checkpoint.epoch];
    const start = pageStart(listing, query.page_token);
    const { entries, next_page_token } = page(newestFirst(entry.history, query), start, query, listing);
    return { json: { events: await readEvents(entries, services), next_page_token } };
  },
});

function* newestFirst(history: HistoryEntry[], query: z.output<typeof Filters>): Generator<HistoryEntry> {
  for (let i = history.length - 1; i >= 0; i--) if (fits(history[i]!, query)) yield history[i]!;
}

function fits(entry: HistoryEntry, { type, environment, version }: z.output<typeof Filters>): boolean {
  if (type !== undefined && entry.type !== type) return false;
  if (environment !== undefined && entry.environment !== environment) return false;
  return version === undefined || entry.version === version || entry.previous === version;
}

const READ_AT_ONCE = 32;

/** The index is folded; the events themselves are read from the log. */
async function readEvents(entries: HistoryEntry[], services: Services): Promise<z.infer<typeof EventView>[]> {
  const events: z.infer<typeof EventView>[] = [];
  for (let i = 0; i < entries.length; i += READ_AT_ONCE) {
    const some = entries.slice(i, i + READ_AT_ONCE);
    events.push(...(await Promise.all(some.map(({ revision }) => readEvent(revision, services)))));
  }
  return events;
}

async function readEvent(revision: number, { readAt }: Services): Promise<z.infer<typeof EventView>> {
  const message = await readAt(revision).catch((cause: unknown) => {
    throw new Problem('log-unavailable', 'The log cannot be read at the moment.', {}, cause);
  });
  const event = message && decodeEvent(message.body).event;
  if (!event) throw new Problem('log-unavailable', `The event ${revision} is no longer in the log.`, { revision });
  return eventView(revision, event);
}

export const historyRoutes = [history];
