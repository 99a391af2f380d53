import { z } from 'zod';

export const SessionView = z
  .object({
    actor: z.string(),
    role: z.string().nullable(),
    groups: z.array(z.string()),
    expires_at: z.iso.datetime().meta({ description: 'Moves on while the session is used' }),
    ends_at: z.iso.datetime().meta({ description: 'The latest end: after a day, or when the token expires' }),
  })
  .meta({ id: 'Session' });
export type SessionView = z.infer<typeof SessionView>;
