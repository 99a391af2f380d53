import { z } from 'zod';
import { allows, EVERY_MODEL } from '../../access/policy.ts';
import { identifyIfAny } from '../caller/identify.ts';
import type { HttpContext } from '../server/context.ts';
import { route } from '../server/route.ts';
import type { Services } from '../services.ts';

/** What an operator should look at. */
const Lists = z.object({
  gaps: z.array(z.object({ first: z.int(), last: z.int() })),
  frozen: z.array(z.object({ model: z.string(), revision: z.int(), reason: z.string() })),
  volume: z.array(z.string()),
  artifacts: z.array(
    z.object({ model: z.string(), version: z.string(), environments: z.array(z.string()), missing: z.int() }),
  ),
  discovery: z.array(z.string()),
  history: z.array(z.string()),
});

/** The further ones are counted by the metric signalbox_problems. */
const MAX_ARTIFACTS = 100;

const Readiness = z.object({
  ready: z.boolean(),
  log: z.enum(['live', 'catching-up', 'cut-off', 'diverged']),
  counts: z.record(Lists.keyof(), z.int()).meta({ description: 'How long each of the lists is' }),
  // They name models, versions and files.
  ...Lists.partial().shape,
});

const healthz = route({
  method: 'GET',
  path: '/healthz',
  permission: null,
  summary: 'Whether the process answers at all',
  answer: { status: 200, schema: z.object({ status: z.literal('ok') }) },
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
      keyof typeof Lists.shape,
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
