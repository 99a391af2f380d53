import { z } from 'zod';
import { pageOf } from '../../api/page.ts';
import { VersionView, versionView } from '../../api/views.ts';
import { Problem } from '../../domain/errors.ts';
import { EnvironmentName } from '../../domain/names.ts';
import { Paging, pageReply, pageStart } from '../server/paging.ts';
import { route } from '../server/route.ts';
import { At } from './at.ts';
import { findEnvironment, findModel, findVersion } from './find.ts';
import { ofModel, ofVersion } from './params.ts';

const Listing = z.object({
  active_flag: z.stringbool().optional(),
  environment: EnvironmentName.optional().meta({ description: 'Limits active_flag to one environment' }),
  status: z.enum(['ready', 'archived']).optional(),
  at: At.optional(),
  ...Paging,
});

const list = route({
  method: 'GET',
  path: '/api/models/:model/versions',
  permission: 'read',
  summary: 'The versions of a model, newest revision first',
  params: ofModel,
  query: Listing,
  answer: { status: 200, schema: pageOf('versions', VersionView) },
  errors: ['unknown-environment', 'unknown-model', 'list-timeout'],
  async handle({ params, query }, services) {
    findModel(services, params.model);
    if (query.environment !== undefined) findEnvironment(services, query.environment);
    const { page_size, page_token, ...filters } = query;
    const { active_flag, environment, status, at } = filters;
    const listing = ['versions', params.model, active_flag, environment, status, at, services.readModel.position.epoch];
    const start = pageStart(listing, { page_size, page_token });
    const page = await services.lists.list('versions', { ...start, ...filters, ...params });
    return pageReply('versions', page, listing);
  },
});

const latest = route({
  method: 'GET',
  path: '/api/models/:model/versions/latest',
  permission: 'read',
  summary: 'The highest version that is not archived; a pre-release only if there is no other',
  params: ofModel,
  answer: { status: 200, schema: VersionView },
  errors: ['unknown-model', 'unknown-version'],
  handle({ params }, services) {
    const model = findModel(services, params.model);
    const { latest } = model;
    if (latest === null) throw new Problem('unknown-version', `${model.name} has no version in use.`);
    return { json: versionView(model, model.version(latest)!) };
  },
});

const one = route({
  method: 'GET',
  // Excludes its neighbors: Hono dispatches a request that matches one route without composing handlers.
  path: '/api/models/:model/versions/:version{(?!active$|latest$)[^/]+}',
  permission: 'read',
  summary: 'One version',
  params: ofVersion,
  answer: { status: 200, schema: VersionView },
  errors: ['unknown-model', 'unknown-version'],
  handle({ params }, services) {
    const { model, state } = findVersion(services, params.model, params.version);
    return { json: versionView(model, state) };
  },
});

export const versionRoutes = [list, latest, one];
