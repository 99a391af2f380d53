import { z } from 'zod';
import { route } from './route.ts';
import type { Services } from './services.ts';

const Readiness = z.object({
  ready: z.boolean(),
  log: z.enum(['live', 'catching-up', 'cut-off', 'diverged']),
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
  summary: 'Whether the log is followed to its head (503 if not), and what else an operator should look at',
  answer: { status: 200, schema: Readiness },
  errors: [],
  handle(_request, services) {
    const health = services.health();
    const ready = health.log === 'live';
    const artifacts = health.artifacts.slice(0, MAX_ARTIFACTS);
    return { status: ready ? 200 : 503, json: { ready, ...health, artifacts, frozen: frozenModels(services) } };
  },
});

/** A model that cannot be followed does not take the registry down: the others are served as ever. */
function frozenModels({ registry }: Services) {
  const entries = [...registry().models.values()].filter(({ frozen }) => frozen !== null);
  return entries.map(({ model, frozen }) => ({ model: model.name, ...frozen! }));
}

export const healthRoutes = [healthz, readyz];
