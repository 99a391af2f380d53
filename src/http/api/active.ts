import { z } from 'zod';
import { ActiveView, activeView } from '../../api/views.ts';
import { Problem } from '../../domain/errors.ts';
import type { Model } from '../../domain/model.ts';
import { EnvironmentName } from '../../domain/names.ts';
import { shortEpoch } from '../../log/identity.ts';
import type { At as Moment } from '../../projections/read-model/past-model.ts';
import type { HttpContext } from '../server/context.ts';
import { notModified } from '../server/etag.ts';
import { type Reply, route } from '../server/route.ts';
import type { Services } from '../services.ts';
import { At } from './at.ts';
import { findEnvironment, findModel } from './find.ts';
import { ofModel } from './params.ts';

const active = route({
  method: 'GET',
  path: '/api/models/:model/versions/active',
  permission: 'read',
  summary: 'The version that is active in an environment',
  params: ofModel,
  query: z.object({ environment: EnvironmentName.default('production'), at: At.optional() }),
  answer: { status: 200, schema: ActiveView },
  errors: ['no-active-version', 'unknown-environment', 'unknown-model', 'list-timeout'],
  handle({ c, params, query: { environment: name, at } }, services) {
    const model = findModel(services, params.model);
    const environment = findEnvironment(services, name);
    if (at) return activeAt(c, params.model, environment, at, services);
    const { etag, reply } = activeReply(model, environment, services);
    return notModified(c, etag) ? { status: 304, headers: reply.headers! } : reply;
  },
});

interface Cached {
  etag: string;
  reply: Reply;
}
const cached = new WeakMap<Model, Map<string, Cached>>();

/**
 * Returns the answer from a cache: services poll it all day. Each event of the model makes another object of it. The ETag
 * is the head of the model's chain, which changes with every event, so that no body has to be hashed.
 *
 * @throws {Problem} no-active-version
 */
function activeReply(model: Model, environment: string, { metrics }: Services): Cached {
  const replies = cached.get(model) ?? new Map<string, Cached>();
  cached.set(model, replies);
  const known = replies.get(environment);
  metrics.manifestCache(known !== undefined);
  if (known) return known;
  const view = activeView(model, environment);
  if (!view) throw new Problem('no-active-version', `No version is active in ${environment}.`, { environment });
  const etag = `"${model.head.slice(0, 32)}"`;
  const fresh = { etag, reply: { headers: { ETag: etag }, body: JSON.stringify(view) } };
  replies.set(environment, fresh);
  return fresh;
}

/**
 * Answers what was active at an earlier moment. The past does not change: the ETag names the log and the last event of
 * the model up to that moment.
 *
 * @throws {Problem} no-active-version
 */
async function activeAt(
  c: HttpContext,
  model: string,
  environment: string,
  at: Moment,
  { lists, readModel }: Services,
): Promise<Reply> {
  const { result } = await lists.list('active', { model, environment, at });
  const { revision, active } = result;
  if (!active) throw new Problem('no-active-version', `No version was active in ${environment} then.`, { environment });
  const { generation, epoch } = readModel.position;
  const headers = { ETag: `"${generation}-${shortEpoch(epoch)}-${revision}"` };
  return notModified(c, headers.ETag) ? { status: 304, headers } : { headers, json: active };
}

export const activeRoutes = [active];
