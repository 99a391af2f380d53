import { z } from 'zod';
import { allows } from '../../access/policy.ts';
import { Liveness, type ProblemLists, Readiness } from '../../api/health.ts';
import { EVERY_MODEL } from '../../domain/permissions.ts';
import { identifyIfAny } from '../caller/identify.ts';
import type { HttpContext } from '../server/context.ts';
import { route } from '../server/route.ts';
import type { Services } from '../services.ts';

type ProblemListsOf = Record<keyof ProblemLists, readonly unknown[]>;

/** The metric signalbox_problems counts all of them. */
const MAX_ARTIFACTS = 100;

const healthz = route({
  method: 'GET',
  path: '/healthz',
  permission: null,
  summary: 'Whether the process responds',
  answer: { status: 200, schema: Liveness },
  errors: [],
  handle: () => ({ json: { status: 'ok' } }),
});

const readyz = route({
  method: 'GET',
  path: '/readyz',
  permission: null,
  summary:
    'Whether this server can answer reads (503 if not), or with for=writes, store events; and the number of problems. With a credential that may read every model, also the problems',
  query: z.object({ for: z.enum(['reads', 'writes']).default('reads') }),
  answer: { status: 200, schema: Readiness },
  errors: [],
  async handle({ c, query }, services) {
    const { log, complete, volume_progress, artifacts, ...health } = services.health();
    const lists = { ...health, frozen: frozenModels(services) };
    const lengths = Object.entries(lists).map(([name, list]) => [name, list.length]);
    const counts: Record<keyof ProblemLists, number> = { ...Object.fromEntries(lengths), artifacts: artifacts.count };
    // Without NATS, reads are answered, marked stale. A server whose log was replaced does not recover by itself, and may
    // contradict the others, which follow the log as it is now: requests should go to those.
    const ready = complete && log !== 'diverged';
    const writes = log === 'live';
    const status = (query.for === 'writes' ? writes : ready) ? 200 : 503;
    const all = () => ({ ...lists, artifacts: artifacts.first(MAX_ARTIFACTS) }) satisfies ProblemListsOf;
    const shown = (await mayReadEverything(c, services)) ? all() : {};
    return { status, json: { ready, writes, log, volume_progress, counts, ...shown } };
  },
});

/** A probe must not fail because of an invalid credential, so it counts as no credential. */
async function mayReadEverything(c: HttpContext, services: Services): Promise<boolean> {
  const caller = await identifyIfAny(c, services);
  return caller !== null && allows(services.policy, caller, { permission: 'read', model: EVERY_MODEL });
}

/** A frozen model does not make the server unready: the others are served. */
function frozenModels({ readModel }: Services) {
  return [...readModel.frozenModels].map(([model, frozen]) => ({ model, ...frozen }));
}

export const healthRoutes = [healthz, readyz];
