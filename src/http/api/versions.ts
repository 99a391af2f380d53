import { z } from 'zod';
import { pageOf } from '../../api/page.ts';
import { VersionView, versionView } from '../../api/views.ts';
import { Problem } from '../../domain/errors.ts';
import { activeIn, latestVersion, type Model, type VersionState } from '../../domain/model.ts';
import { EnvironmentName } from '../../domain/names.ts';
import { Paging, pageReply } from '../server/paging.ts';
import { route } from '../server/route.ts';
import { At, modelAt, withNotes } from './at.ts';
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
  errors: ['unknown-environment', 'unknown-model', 'log-unavailable'],
  async handle({ params, query }, services) {
    const entry = findModel(services, params.model);
    if (query.environment !== undefined) findEnvironment(services, query.environment);
    const past = query.at && modelAt(entry, query.at);
    const { model } = past ?? entry;
    const { active_flag, environment, status, at, page_size, page_token } = query;
    const { epoch } = services.registry().position;
    const listing = ['versions', params.model, active_flag, environment, status, at, epoch];
    const matching = newestFirst(model).filter((version) => matches(model, version, query));
    return pageReply({
      name: 'versions',
      entries: matching,
      page_size,
      page_token,
      listing,
      views: async (some) => {
        const versions = past ? await withNotes(past, some, services) : some;
        return versions.map((version) => versionView(model, version));
      },
    });
  },
});

function newestFirst(model: Model): VersionState[] {
  return [...model.versions.values()].reverse(); // a map keeps the order of publication
}

function matches(model: Model, version: VersionState, query: z.output<typeof Listing>): boolean {
  if (query.status !== undefined && version.status !== query.status) return false;
  if (query.active_flag === undefined && query.environment === undefined) return true;
  const environments = activeIn(model, version.version);
  const active = query.environment === undefined ? environments.length > 0 : environments.includes(query.environment);
  return active === (query.active_flag ?? true);
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
    const { model } = findModel(services, params.model);
    const version = latestVersion(model);
    if (version === null) throw new Problem('unknown-version', `${model.name} has no version in use.`);
    return { json: versionView(model, model.versions.get(version)!) };
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
