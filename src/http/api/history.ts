import { z } from 'zod';
import { pageOf } from '../../api/page.ts';
import { EventView } from '../../api/views.ts';
import { EVENT_TYPES } from '../../domain/events.ts';
import { EnvironmentName, ModelName } from '../../domain/names.ts';
import { Version } from '../../domain/versions.ts';
import { Paging, pageReply, pageStart } from '../server/paging.ts';
import { type Request, route } from '../server/route.ts';
import type { Services } from '../services.ts';
import { Time } from './at.ts';
import { findModel } from './find.ts';
import { ofModel } from './params.ts';

const Filters = z.object({
  type: z.enum(EVENT_TYPES).optional(),
  environment: EnvironmentName.optional(),
  version: Version.optional().meta({ description: 'Events with this version as the new or the previous one' }),
  actor: z.string().max(200).optional(),
  reason: z.string().max(200).optional().meta({ description: 'Words that the reason contains' }),
  since: Time.optional().meta({ format: 'date-time', description: 'Events at or after this time' }),
  until: Time.optional().meta({ format: 'date-time', description: 'Events at or before this time' }),
  ...Paging,
});

const ofOneModel = route({
  method: 'GET',
  path: '/api/models/:model/history',
  permission: 'read',
  summary: 'The events of a model, newest first',
  params: ofModel,
  query: Filters,
  answer: { status: 200, schema: pageOf('events', EventView) },
  errors: ['unknown-model', 'list-timeout'],
  handle(request, services) {
    const { model } = request.params;
    findModel(services, model);
    return reply(model, request, services);
  },
});

const ofAllModels = route({
  method: 'GET',
  path: '/api/history',
  permission: 'read',
  summary: 'The events of all models that the caller may read, newest first',
  query: Filters,
  answer: { status: 200, schema: pageOf('events', EventView.extend({ model: ModelName })) },
  errors: ['list-timeout'],
  handle: (request, services) => reply(undefined, request, services),
});

async function reply(
  model: string | undefined,
  { query, identity }: Pick<Request<unknown, z.output<typeof Filters>, unknown>, 'query' | 'identity'>,
  { lists, readModel }: Services,
) {
  const { page_size, page_token, ...filters } = query;
  const listing = ['history', model ?? null, filters, readModel.position.epoch];
  const start = pageStart(listing, { page_size, page_token });
  const page = await lists.list('history', { ...start, ...filters, model, identity });
  return pageReply('events', page, listing);
}

export const historyRoutes = [ofOneModel, ofAllModels];
