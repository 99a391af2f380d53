import { z } from 'zod';
import { searchedPageOf } from '../../api/page.ts';
import { VersionView, versionView } from '../../api/views.ts';
import { Problem } from '../../domain/errors.ts';
import { EnvironmentName } from '../../domain/names.ts';
import type { ListQuery } from '../../projections/lists/lists.ts';
import { Paging, pageReply, pageStart, searchStart } from '../server/paging.ts';
import { route } from '../server/route.ts';
import { At } from './at.ts';
import { findEnvironment, findModel, findVersion } from './find.ts';
import { ofModel, ofVersion } from './params.ts';
import { isSearch, Searching, searchOf } from './searching.ts';

const Listing = z.object({
  active_flag: z.stringbool().optional(),
  environment: EnvironmentName.optional().meta({ description: 'Limits active_flag to one environment' }),
  status: z.enum(['ready', 'archived']).optional(),
  at: At.optional(),
  ...Searching,
  ...Paging,
});

const list = route({
  method: 'GET',
  path: '/api/models/:model/versions',
  permission: 'read',
  summary: 'The versions of a model, newest revision first, or those that a search finds',
  params: ofModel,
  query: Listing,
  answer: { status: 200, schema: searchedPageOf('versions', VersionView) },
  errors: ['unknown-environment', 'unknown-model', 'list-timeout'],
  async handle({ params: { model }, query }, services) {
    findModel(services, model);
    if (query.environment !== undefined) findEnvironment(services, query.environment);
    const { page_size: _, page_token: __, ...selected } = query;
    const listing = ['versions', model, selected, services.readModel.position.epoch];
    const page = isSearch(query)
      ? await services.lists.list('found-versions', searched(model, query, listing, services.environments))
      : await services.lists.list('versions', { ...pageStart(listing, query), ...selected, model });
    return pageReply('versions', page, listing);
  },
});

function searched(
  model: string,
  { at, status, active_flag, environment, ...query }: z.output<typeof Listing>,
  listing: unknown[],
  environments: readonly string[],
): ListQuery<'found-versions'> {
  if (at)
    throw new Problem(
      'invalid-request',
      'A search finds what is there now. Leave out at, or where, order_by and count.',
    );
  const search = searchOf(query, { listing: 'versions', environments });
  return { ...searchStart(listing, query), ...search, model, status, active_flag, environment };
}

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
