import { z } from 'zod';
import { MOVE_TYPES } from '../domain/events.ts';

/** A time for which one version, or none, was active in an environment. */
export const Tenure = z
  .object({
    environment: z.string(),
    version: z.string().nullable().meta({ description: 'null: none was active' }),
    previous: z.string().nullable(),
    type: z.enum(MOVE_TYPES).meta({ description: 'The event that began it' }),
    since: z.iso.datetime(),
    by: z.string(),
    reason: z.string().nullable(),
    revision: z.int(),
    until: z.iso.datetime().nullable().meta({ description: 'null: it has not ended' }),
  })
  .meta({ id: 'Tenure' });
export type Tenure = z.infer<typeof Tenure>;
