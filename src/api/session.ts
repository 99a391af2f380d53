import { z } from 'zod';

export const SessionView = z
  .object({
    actor: z.string(),
    role: z.string().nullable(),
    groups: z.array(z.string()),
    expires_at: z.iso.datetime().meta({ description: 'Unless it is used before' }),
    ends_at: z.iso.datetime().meta({ description: 'However much it is used: after a day, or with the token' }),
  })
  .meta({ id: 'Session' });
export type SessionView = z.infer<typeof SessionView>;
