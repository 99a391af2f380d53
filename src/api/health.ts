import { z } from 'zod';

export const Liveness = z.object({ status: z.literal('ok') });

/** What an operator should look at. */
export const ProblemLists = z.object({
  gaps: z.array(z.object({ first: z.int(), last: z.int() })),
  frozen: z.array(z.object({ model: z.string(), revision: z.int(), reason: z.string() })),
  volume: z.array(z.string()),
  artifacts: z.array(
    z.object({ model: z.string(), version: z.string(), environments: z.array(z.string()), missing: z.int() }),
  ),
  discovery: z.array(z.string()),
  history: z.array(z.string()),
});
export type ProblemLists = z.infer<typeof ProblemLists>;

/** Whether the log is followed. The lists name models, versions and files: only some callers get them. */
export const Readiness = z.object({
  ready: z.boolean(),
  log: z.enum(['live', 'catching-up', 'cut-off', 'diverged']),
  counts: z.record(ProblemLists.keyof(), z.int()).meta({ description: 'How long each of the lists is' }),
  ...ProblemLists.partial().shape,
});
