import { z } from 'zod';
import { Reach } from '../domain/permissions.ts';

/** An API key, without the key itself. */
export const KeyView = z
  .object({
    id: z.string(),
    name: z.string(),
    kind: z.enum(['bearer', 'signing']),
    reach: Reach,
    created_at: z.iso.datetime(),
    created_by: z.string(),
    expires_at: z.iso.datetime().nullable(),
    last_used_at: z.iso.datetime().nullable().meta({ description: 'Precise to the hour' }),
  })
  .meta({ id: 'Key' });
export type KeyView = z.infer<typeof KeyView>;

/** A key that was just created. No later answer has `key`. */
export const CreatedKey = KeyView.extend({ key: z.string() });
export type CreatedKey = z.infer<typeof CreatedKey>;

export const KeyList = z.object({ keys: z.array(KeyView) });
export type KeyList = z.infer<typeof KeyList>;

export const NewKey = z.strictObject({
  name: z
    .string()
    .regex(/^[A-Za-z0-9._-]{1,64}$/, 'must match [A-Za-z0-9._-]{1,64}')
    .meta({ description: 'The actor of its events, as key:<name>' }),
  reach: Reach,
  signing: z.boolean().default(false).meta({ description: 'A key that signs requests (RFC 9421) and is never sent' }),
  expires_at: z.iso.datetime().nullable().default(null),
});
