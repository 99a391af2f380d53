import { z } from 'zod';
import { PolledSnapshot, Snapshot } from '../../api/snapshot.ts';
import { Problem } from '../../domain/errors.ts';
import { parsePositionId, positionId } from '../../log/identity.ts';
import { hashOf } from '../../log/read.ts';
import type { HttpContext } from '../server/context.ts';
import { notModified } from '../server/etag.ts';
import { route } from '../server/route.ts';
import type { Services } from '../services.ts';
import { ofModel } from './params.ts';
import { snapshotOf } from './snapshot-stream.ts';

const snapshots = route({
  method: 'GET',
  path: '/api/models/:model/events',
  permission: 'read',
  summary: 'Server-sent events: the active versions now and after each change; as JSON, only those now',
  params: ofModel,
  query: z.object({ last_event_id: z.string().max(200).optional() }),
  answer: { status: 200, schema: Snapshot, type: 'text/event-stream', others: { 'application/json': PolledSnapshot } },
  errors: ['log-unavailable'],
  async handle({ c, params: { model }, query }, services) {
    if (services.health().log === 'catching-up') {
      throw new Problem(
        'log-unavailable',
        'The registry is still reading its log and does not know what is active yet. Try again.',
      );
    }
    const lastId = c.req.header('last-event-id') ?? query.last_event_id;
    const reset = lastId !== undefined && lastId !== '' && !(await logHolds(lastId, services));
    if (wantsJson(c)) return polledReply(c, model, reset, services);
    const headers = {
      'Content-Type': 'text/event-stream',
      'Cache-Control': 'no-cache, no-transform',
      'X-Accel-Buffering': 'no', // nginx buffers responses otherwise
    };
    return { headers, stream: (outgoing) => services.snapshots.join(model, outgoing, reset) };
  },
});

/** Answers a poll. The head of the model's chain stands for its whole state in the ETag. */
function polledReply(c: HttpContext, model: string, reset: boolean, services: Services) {
  const { position } = services.readModel;
  const stale = services.stale() ? '-stale' : '';
  const { head } = services.readModel.model(model);
  const headers = { ETag: `"${position.generation}-${head.slice(0, 32)}${stale}"`, Vary: 'Accept' };
  if (!reset && notModified(c, headers.ETag)) return { status: 304, headers };
  const json = { id: positionId(position), ...snapshotOf(services, model), ...(reset && { reset }) };
  return { headers, json: json satisfies PolledSnapshot };
}

function wantsJson(c: HttpContext): boolean {
  const accept = c.req.header('accept') ?? '';
  return accept.includes('application/json') && !accept.includes('text/event-stream');
}

/**
 * Whether the log holds the position that a follower saw last. A position that this server has not reached is looked up
 * in the log, since another server may know more. If the log cannot be read, the follower is believed.
 */
async function logHolds(id: string, services: Services): Promise<boolean> {
  const seen = parsePositionId(id);
  const { position } = services.readModel;
  if (!seen || seen.generation !== position.generation) return false;
  if (seen.revision === 0) return true;
  if (position.epoch !== null && seen.epoch !== null && !position.epoch.startsWith(seen.epoch)) return false;
  if (seen.revision === position.revision) return position.hash!.startsWith(seen.hash!);
  if (services.stale()) return true;
  const message = await services.readAt(seen.revision).catch(() => undefined);
  if (message === undefined) return true;
  return message !== null && hashOf(message.body).startsWith(seen.hash!);
}

export const snapshotRoutes = [snapshots];
