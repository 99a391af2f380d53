import type { Kind } from './filled.ts';

/** A list to ask for; `path` returns the address of the n-th request. */
export interface List {
  name: string;
  path(n: number): string;
  /** The p99 to be reached, in ms. */
  aim?: number;
  /** The page after this many entries is measured, found by its token. */
  deep?: number;
  /** Measured only if the server knows filters: an older one ignores them. */
  searches?: true;
}

const SEARCH_AIM_MS = 20;
const SEARCH = new URLSearchParams({
  where: "metrics.auc > 0.9 and tags.team = 'risk' and status = 'ready'",
  order_by: 'metrics.auc desc',
});

const models = { name: 'models', path: () => '/api/models?page_size=100' };
const allModels = { name: 'models, a page of 1,000', path: () => '/api/models?page_size=1000' };
const history = { name: 'history', path: ofModel('history') };
const versions = { name: 'versions', path: ofModel('versions') };
const archived = { name: 'versions, archived', path: ofModel('versions', 'status=archived') };
const active = { name: 'versions, active in production', path: ofModel('versions', 'environment=production') };
const past = { name: 'versions at a revision in the middle', path: ofModel('versions', 'at=60000') };
const timeline = { name: 'timeline', path: ofModel('timeline') };
const found: List = {
  name: 'versions, searched and ordered',
  path: ofModel('versions', `${SEARCH}`),
  aim: SEARCH_AIM_MS,
  searches: true,
};
const deepHistory = { name: 'history, a page in the middle', path: only('history') };

export const lists: Record<Kind, List[]> = {
  events: [
    models,
    allModels,
    history,
    { name: 'history of type version.published', path: ofModel('history', 'type=version.published') },
    { name: 'history of production', path: ofModel('history', 'environment=production') },
    { name: 'history of a version', path: ofModel('history', 'version=1.0.0') },
    { ...deepHistory, deep: 500 },
    versions,
    { name: past.name, path: ofModel('versions', 'at=500000') },
    { name: 'history of all models', path: () => '/api/history?page_size=100' },
    timeline,
  ],
  versions: [models, allModels, versions, archived, active, past, history, found, timeline],
  one: [
    { name: versions.name, path: only('versions') },
    { name: 'versions, a page in the middle', path: only('versions'), deep: 50_000 },
    { name: archived.name, path: only('versions', 'status=archived') },
    { name: active.name, path: only('versions', 'environment=production') },
    { name: past.name, path: only('versions', 'at=60000') },
    { name: history.name, path: only('history') },
    { name: 'history of type version.archived', path: only('history', 'type=version.archived') },
    { ...deepHistory, deep: 60_000 },
    { ...found, path: only('versions', `${SEARCH}`) },
    { name: timeline.name, path: only('timeline') },
  ],
};

/** An invalid filter, which only a server that knows filters refuses. */
export const INVALID_FILTER = '/api/models/model-0/versions?where=(';

/** A page of 100 of a model; each request takes another one of the 1,000 models. */
function ofModel(resource: string, filter?: string): List['path'] {
  return (n) => pageOf(n % 1_000, resource, filter);
}

/** The same of the first model. */
function only(resource: string, filter?: string): List['path'] {
  return () => pageOf(0, resource, filter);
}

function pageOf(model: number, resource: string, filter?: string): string {
  return `/api/models/model-${model}/${resource}?page_size=100${filter ? `&${filter}` : ''}`;
}
