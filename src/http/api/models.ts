import { z } from 'zod';
import { searchedPageOf } from '../../api/page.ts';
import { ModelView, ShortLatestView, ShortModelView } from '../../api/views.ts';
import type { Reads } from '../../artifacts/artifacts.ts';
import { readSmallBlob } from '../../artifacts/read-small.ts';
import type { Digest } from '../../domain/digest.ts';
import { Problem } from '../../domain/errors.ts';
import { shownJson } from '../../domain/json.ts';
import { activeVersion, type Model, type VersionState } from '../../domain/model.ts';
import { DEFAULT_MODEL, ModelName } from '../../domain/names.ts';
import { Paging, pageReply, pageStart, searchStart } from '../server/paging.ts';
import { route } from '../server/route.ts';
import type { Services } from '../services.ts';
import { findModel } from './find.ts';
import { isSearch, Searching, searchOf } from './searching.ts';

const models = route({
  method: 'GET',
  path: '/api/models',
  permission: 'read',
  summary: 'The models, the last changed one first, or those that a search finds',
  query: z.object({ ...Searching, ...Paging }),
  answer: { status: 200, schema: searchedPageOf('models', ModelView) },
  errors: ['list-timeout'],
  async handle({ query, identity }, { lists, readModel, environments }) {
    const { page_size: _, page_token: __, ...selected } = query;
    const listing = ['models', selected, readModel.position.epoch];
    if (!isSearch(query)) {
      return pageReply('models', await lists.list('models', { ...pageStart(listing, query), identity }), listing);
    }
    const search = searchOf(query, { listing: 'models', environments });
    const page = await lists.list('found-models', { ...searchStart(listing, query), ...search, identity });
    return pageReply('models', page, listing);
  },
});

const OfModel = z.object({ model: ModelName.default(DEFAULT_MODEL) });

const short = route({
  method: 'GET',
  path: '/models',
  permission: 'gateway',
  summary: 'A summary of a model: its versions in order, the latest and the active one',
  query: OfModel,
  answer: { status: 200, schema: ShortModelView },
  errors: ['unknown-model'],
  async handle({ query }, services) {
    const model = shortModel(services, query.model);
    const { result: versions } = await services.lists.list('names', { model: model.name });
    return { json: { versions, latest: model.latest, active: activeVersion(model, 'production') } };
  },
});

const shortLatest = route({
  method: 'GET',
  path: '/models/latest',
  permission: 'gateway',
  summary: 'The latest version of a model and its metadata.json; null if that is too large or is not JSON',
  query: OfModel,
  answer: { status: 200, schema: ShortLatestView },
  errors: ['unknown-model', 'unknown-version'],
  async handle({ query }, services) {
    const model = shortModel(services, query.model);
    const { latest: version } = model;
    if (version === null) throw new Problem('unknown-version', `${model.name} has no version in use.`);
    return { json: { version, metadata: await metadataOf(model.version(version)!, services.artifacts.reads) } };
  },
});

/** Finds a model; the default model exists before its first version. @throws {Problem} unknown-model */
function shortModel(services: Services, name: string): Model {
  return name === DEFAULT_MODEL ? services.readModel.model(name) : findModel(services, name);
}

/** Returns the version's `metadata.json`, or null if it cannot be shown; without that file, its manifest. */
async function metadataOf({ manifest }: VersionState, reads: Reads): Promise<unknown> {
  const listed = manifest.artifacts.find(({ path }) => path === 'metadata.json');
  const text = listed && (await textOf(listed.digest, reads));
  const { artifacts: _, ...metadata } = manifest;
  return text === TOO_LARGE ? null : text ? shownJson(text) : metadata;
}

const TOO_LARGE = Symbol('too large');

async function textOf(digest: Digest, reads: Reads): Promise<string | null | typeof TOO_LARGE> {
  try {
    return await readSmallBlob(reads, digest);
  } catch (error) {
    if (error instanceof Problem && error.code === 'too-large') return TOO_LARGE;
    throw error;
  }
}

export const modelRoutes = [models, short, shortLatest];
