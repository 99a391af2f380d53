import { z } from 'zod';
import { Snapshot } from '../../api/snapshot.ts';
import { Problem } from '../../domain/errors.ts';
import { parsePositionId, positionId } from '../../log/identity.ts';
import { hashOf } from '../../log/read.ts';
import { entryOf } from '../../projections/registry.ts';
import type { HttpContext } from '../server/context.ts';
import { notModified } from '../server/etag.ts';
import { route } from '../server/route.ts';
import type { Services } from '../services.ts';
import { ofModel } from './params.ts';
import { snapshotOf } from './snapshot-stream.ts';

/** The snapshot alone, as a poll gets it. */
const Polled = Snapshot.extend({
  id: z.string().meta({ description: 'To be sent back as Last-Event-ID' }),
  reset: z.literal(true).optional().meta({ description: 'The log does not hold what Last-Event-ID says' }),
}).meta({ id: 'PolledSnapshot' });

const follow = route({
  method: 'GET',
  path: '/api/models/:model/events',
  permission: 'read',
  summary: 'Server-sent events: a snapshot, then each activation, with what is active; as JSON, the snapshot alone',
  params: ofModel,
  query: z.object({ last_event_id: z.string().max(200).optional() }),
  answer: { status: 200, schema: Snapshot, type: 'text/event-stream', others: { 'application/json': Polled } },
  errors: ['log-unavailable'],
  async handle({ c, params: { model }, query }, services) {
    if (services.health().log === 'catching-up') {
      throw new Problem('log-unavailable', 'The log is being read; what is active is not known yet.');
    }
    const held = c.req.header('last-event-id') ?? query.last_event_id;
    const reset = held !== undefined && held !== '' && !(await holds(services, held));
    if (wantsJson(c)) return snapshotReply(c, model, reset, services);
    const headers = {
      'Content-Type': 'text/event-stream',
      'Cache-Control': 'no-cache, no-transform',
      'X-Accel-Buffering': 'no', // nginx would hold back what is to arrive at once
    };
    return { headers, stream: (outgoing) => services.events.join(model, outgoing, reset) };
  },
});

/** For polling. The chain's head stands for all that happened to the model. */
function snapshotReply(c: HttpContext, model: string, reset: boolean, services: Services) {
  const { position } = services.registry();
  const stale = services.stale() ? '-stale' : '';
  const { head } = entryOf(services.registry(), model).model;
  const headers = { ETag: `"${position.generation}-${head.slice(0, 32)}${stale}"`, Vary: 'Accept' };
  if (!reset && notModified(c, headers.ETag)) return { status: 304, headers };
  const json = { id: positionId(position), ...snapshotOf(services, model), ...(reset && { reset }) };
  return { headers, json };
}

function wantsJson(c: HttpContext): boolean {
  const accept = c.req.header('accept') ?? '';
  return accept.includes('application/json') && !accept.includes('text/event-stream');
}

/**
 * Whether the log holds what a follower saw last. One from beyond this server's own knowledge is looked up in the log:
 * another server may know more. Where the log cannot be asked, nothing speaks against the follower.
 */
async function holds(services: Services, id: string): Promise<boolean> {
  const seen = parsePositionId(id);
  const { position } = services.registry();
  if (!seen || seen.generation !== position.generation) return false;
  if (seen.revision === 0) return true;
  if (position.epoch !== null && seen.epoch !== null && !position.epoch.startsWith(seen.epoch)) return false;
  if (seen.revision === position.revision) return position.hash!.startsWith(seen.hash!);
  if (services.stale()) return true;
  const message = await services.readAt(seen.revision).catch(() => undefined);
  if (message === undefined) return true;
  return message !== null && hashOf(message.body).startsWith(seen.hash!);
}

export const eventRoutes = [follow];
