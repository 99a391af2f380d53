import { z } from 'zod';
import { Digest } from '../domain/digest.ts';

const Pointer = z.looseObject({
  version: z.string(),
  manifest_digest: Digest,
  revision: z.int(),
  request_id: z.string().optional().meta({ description: 'The id of the request that moved the environment' }),
});

/** The whole state of a model, as followers get it: the next message makes up for a lost one. */
export const Snapshot = z
  .object({
    revision: z.int().min(0).meta({ description: 'The revision that the log was read up to' }),
    model: z.string(),
    generation: z.int().min(0).meta({ description: 'Raised only by a restore of the log' }),
    epoch: z.string().nullable().meta({ description: 'Identifies the log; null while it is empty' }),
    active: z.record(z.string(), Pointer.nullable()),
    stale: z.boolean().optional().meta({ description: 'The registry cannot follow its log at the moment' }),
  })
  .meta({ id: 'Snapshot' });
export type Snapshot = z.infer<typeof Snapshot>;

/** A snapshot as JSON, for polling. */
export const PolledSnapshot = Snapshot.extend({
  id: z.string().meta({ description: 'Send it as Last-Event-ID with the next request' }),
  reset: z.literal(true).optional().meta({ description: 'The log does not have the position in Last-Event-ID' }),
}).meta({ id: 'PolledSnapshot' });
export type PolledSnapshot = z.infer<typeof PolledSnapshot>;
