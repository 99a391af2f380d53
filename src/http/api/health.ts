import { allows } from '../../access/policy.ts';
import { Liveness, type ProblemLists, Readiness } from '../../api/health.ts';
import { EVERY_MODEL } from '../../domain/permissions.ts';
import { identifyIfAny } from '../caller/identify.ts';
import type { HttpContext } from '../server/context.ts';
import { route } from '../server/route.ts';
import type { Services } from '../services.ts';

/** The further ones are counted by the metric signalbox_problems. */
const MAX_ARTIFACTS = 100;

const healthz = route({
  method: 'GET',
  path: '/healthz',
  permission: null,
  summary: 'Whether the process answers at all',
  answer: { status: 200, schema: Liveness },
  errors: [],
  handle: () => ({ json: { status: 'ok' } }),
});

const readyz = route({
  method: 'GET',
  path: '/readyz',
  permission: null,
  summary:
    'Whether the log is followed to its head (503 if not), and how much an operator should look at; with a credential that may read every model, what',
  answer: { status: 200, schema: Readiness },
  errors: [],
  async handle({ c }, services) {
    const { log, ...health } = services.health();
    const lists = { ...health, frozen: frozenModels(services) } satisfies Record<
      keyof ProblemLists,
      readonly unknown[]
    >;
    const counts = Object.fromEntries(Object.entries(lists).map(([name, list]) => [name, list.length]));
    const ready = log === 'live';
    const artifacts = lists.artifacts.slice(0, MAX_ARTIFACTS);
    const shown = (await mayReadEverything(c, services)) ? { ...lists, artifacts } : {};
    return { status: ready ? 200 : 503, json: { ready, log, counts, ...shown } };
  },
});

/** A wrong credential counts as none: a probe must not fail for it. */
async function mayReadEverything(c: HttpContext, services: Services): Promise<boolean> {
  const caller = await identifyIfAny(c, services);
  return caller !== null && allows(services.policy, caller, { permission: 'read', model: EVERY_MODEL });
}

/** A model that cannot be followed does not take the registry down: the others are served as ever. */
function frozenModels({ registry }: Services) {
  const entries = [...registry().models.values()].filter(({ frozen }) => frozen !== null);
  return entries.map(({ model, frozen }) => ({ model: model.name, ...frozen! }));
}

export const healthRoutes = [healthz, readyz];
