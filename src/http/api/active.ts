import { z } from 'zod';
import { ActiveView, activeView } from '../../api/views.ts';
import { Problem } from '../../domain/errors.ts';
import { environmentOf, type Model } from '../../domain/model.ts';
import { EnvironmentName } from '../../domain/names.ts';
import { shortEpoch } from '../../log/identity.ts';
import type { ModelEntry } from '../../projections/registry.ts';
import type { HttpContext } from '../server/context.ts';
import { notModified } from '../server/etag.ts';
import { type Reply, route } from '../server/route.ts';
import type { Services } from '../services.ts';
import { At, modelAt, withNotes } from './at.ts';
import { findEnvironment, findModel } from './find.ts';
import { ofModel } from './params.ts';
import { readEvents } from './read-event.ts';

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

interface Cached {
  etag: string;
  reply: Reply;
}
const cached = new WeakMap<Model, Map<string, Cached>>();

/**
 * Returns the answer from a cache that is valid until the next event of the model: services poll it all day. The ETag
 * is the head of the model's chain, which changes with every event, so that no body has to be hashed.
 *
 * @throws {Problem} no-active-version
 */
function activeReply(model: Model, environment: string, { metrics }: Services): Cached {
  const replies = cached.get(model) ?? new Map<string, Cached>();
  cached.set(model, replies);
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

/**
 * Answers what was active at an earlier moment. The past does not change: the ETag names the log and the last event of
 * the model up to that moment.
 *
 * @throws {Problem} no-active-version, log-unavailable
 */
async function activeAt(
  c: HttpContext,
  entry: ModelEntry,
  { environment, at }: { environment: string; at: At },
  services: Services,
): Promise<Reply> {
  const past = modelAt(entry, at);
  const view = activeView(past.model, environment);
  if (!view) throw new Problem('no-active-version', `No version was active in ${environment} then.`, { environment });
  const { generation, epoch } = services.registry().position;
  const headers = { ETag: `"${generation}-${shortEpoch(epoch)}-${past.revision}"` };
  if (notModified(c, headers.ETag)) return { status: 304, headers };
  const [version] = await withNotes(past, [past.model.versions.get(view.version)!], services);
  const [moved] = await readEvents([environmentOf(past.model, environment).moved!.revision], services);
  const activated = {
    at: moved!.time,
    by: moved!.actor,
    reason: moved!.data.reason as string | null,
    revision: moved!.revision,
  };
  return { headers, json: { ...view, notes: version!.notes, activated } satisfies ActiveView };
}

export const activeRoutes = [active];
