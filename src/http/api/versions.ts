import { z } from 'zod';
import { ActiveView, activeView, VersionView, versionView } from '../../api/views.ts';
import { Problem } from '../../domain/errors.ts';
import { canonicalManifest } from '../../domain/manifest.ts';
import { activeIn, latestVersion, type Model, type VersionState } from '../../domain/model.ts';
import { EnvironmentName, ModelName } from '../../domain/names.ts';
import { Version } from '../../domain/versions.ts';
import { notModified } from '../server/etag.ts';
import { Paging, pageReply } from '../server/paging.ts';
import { type Reply, route } from '../server/route.ts';
import type { Services } from '../services.ts';
import { At, activeAt, standingAt, withNotes } from './at.ts';
import { blobReply } from './bytes.ts';
import { findEnvironment, findModel, findVersion } from './find.ts';

export const ofModel = z.object({ model: ModelName });
export const ofVersion = z.object({ model: ModelName, version: Version });

const Listing = z.object({
  active_flag: z.stringbool().optional(),
  environment: EnvironmentName.optional().meta({ description: 'Narrows active_flag to one environment' }),
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
  answer: { status: 200, schema: z.object({ versions: z.array(VersionView), next_page_token: z.string().nullable() }) },
  errors: ['unknown-environment', 'unknown-model', 'log-unavailable'],
  async handle({ params, query }, services) {
    const entry = findModel(services, params.model);
    if (query.environment !== undefined) findEnvironment(services, query.environment);
    const past = query.at && standingAt(entry, query.at);
    const { model } = past ?? entry;
    const { active_flag, environment, status, at, page_size, page_token } = query;
    const { epoch } = services.registry().position;
    const listing = ['versions', params.model, active_flag, environment, status, at, epoch];
    const fitting = newestFirst(model).filter((version) => fits(model, version, query));
    return pageReply({
      name: 'versions',
      entries: fitting,
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
  return [...model.versions.values()].reverse(); // a map keeps the order in which versions were published
}

function fits(model: Model, version: VersionState, query: z.output<typeof Listing>): boolean {
  if (query.status !== undefined && version.status !== query.status) return false;
  if (query.active_flag === undefined && query.environment === undefined) return true;
  const environments = activeIn(model, version.version);
  const active = query.environment === undefined ? environments.length > 0 : environments.includes(query.environment);
  return active === (query.active_flag ?? true);
}

const active = route({
  method: 'GET',
  path: '/api/models/:model/versions/active',
  permission: 'read',
  summary: 'The version that is active in an environment',
  params: ofModel,
  query: z.object({ environment: EnvironmentName.default('production'), at: At.optional() }),
  answer: { status: 200, schema: ActiveView },
  errors: ['no-active-version', 'unknown-environment', 'unknown-model', 'log-unavailable'],
  handle({ c, params, query: { environment: name, at } }, services) {
    const entry = findModel(services, params.model);
    const environment = findEnvironment(services, name);
    if (at) return activeAt(c, entry, { environment, at }, services);
    const { etag, reply } = activeReply(entry.model, environment, services);
    return notModified(c, etag) ? { status: 304, headers: reply.headers! } : reply;
  },
});

interface Kept {
  etag: string;
  reply: Reply;
}
const kept = new WeakMap<Model, Map<string, Kept>>();

/**
 * The answer, kept until the model's next event: services that poll ask for the same one all day. The chain's head stands
 * for all that happened to the model, so that no body has to be hashed for the ETag.
 *
 * @throws {Problem} no-active-version
 */
function activeReply(model: Model, environment: string, { metrics }: Services): Kept {
  const replies = kept.get(model) ?? new Map<string, Kept>();
  kept.set(model, replies);
  const etag = `"${model.head.slice(0, 32)}"`;
  const known = replies.get(environment);
  if (known?.etag === etag) {
    metrics.manifestCache(true);
    return known;
  }
  const view = activeView(model, environment);
  if (!view) throw new Problem('no-active-version', `No version is active in ${environment}.`, { environment });
  metrics.manifestCache(false);
  const fresh = { etag, reply: { headers: { ETag: etag }, body: JSON.stringify(view) } };
  replies.set(environment, fresh);
  return fresh;
}

const latest = route({
  method: 'GET',
  path: '/api/models/:model/versions/latest',
  permission: 'read',
  summary: 'The highest version that is neither archived nor, while there is another, a pre-release',
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
  // Told apart here from its neighbours: a request that matches one route only is dispatched without middleware.
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

const manifest = route({
  method: 'GET',
  path: '/api/models/:model/versions/:version/manifest',
  permission: 'read',
  summary: 'The canonical form of a manifest, whose SHA-256 is the manifest_digest',
  params: ofVersion,
  answer: { status: 200, type: 'application/json' },
  errors: ['unknown-model', 'unknown-version'],
  handle({ c, params }, services) {
    const { state } = findVersion(services, params.model, params.version);
    const headers = { ETag: `"${state.manifest_digest}"` };
    return notModified(c, headers.ETag)
      ? { status: 304, headers }
      : { headers, body: canonicalManifest(state.manifest) };
  },
});

const file = route({
  method: 'GET',
  path: '/api/models/:model/versions/:version/files/:path{.+}',
  permission: 'read',
  summary: 'The bytes of one artefact',
  params: ofVersion.extend({ path: z.string() }),
  answer: { status: 200, type: 'application/octet-stream' },
  errors: ['unknown-model', 'unknown-version', 'not-found', 'unknown-blob', 'range-not-satisfiable'],
  handle({ c, params }, services) {
    const { state } = findVersion(services, params.model, params.version);
    const artifact = state.manifest.artifacts.find(({ path }) => path === params.path);
    if (!artifact) throw new Problem('not-found', `${params.version} has no file ${params.path}.`);
    return blobReply(c, services.artifacts, artifact.digest);
  },
});

// In the order in which they are matched: "active" and "latest" are no versions.
export const versionRoutes = [list, active, latest, one, manifest, file];
