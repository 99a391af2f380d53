import { z } from 'zod';

export const Liveness = z.object({ status: z.literal('ok') });

/** The problems that an operator should look at. */
export const ProblemLists = z.object({
  gaps: z.array(z.object({ first: z.int(), last: z.int() })),
  frozen: z.array(z.object({ model: z.string(), revision: z.int(), reason: z.string() })),
  volume: z.array(z.string()),
  artifacts: z.array(
    z.object({ model: z.string(), version: z.string(), environments: z.array(z.string()), missing: z.int() }),
  ),
  discovery: z.array(z.string()),
  store: z.array(z.string()),
  history: z.array(z.string()),
});
export type ProblemLists = z.infer<typeof ProblemLists>;

/** The state of the log. The lists name models, versions and files, so only some callers get them. */
export const Readiness = z.object({
  ready: z.boolean().meta({ description: 'Whether this server can answer reads' }),
  writes: z.boolean().meta({ description: 'Whether this server can store events' }),
  log: z.enum(['live', 'catching-up', 'cut-off', 'diverged']),
  volume_progress: z
    .object({ laid: z.int(), total: z.int() })
    .meta({ description: 'Versions whose folders were looked at since the start, of those that are to have one' }),
  counts: z.record(ProblemLists.keyof(), z.int()).meta({ description: 'The length of each list' }),
  ...ProblemLists.partial().shape,
});
