import { z } from 'zod';
import { Digest } from '../domain/digest.ts';

const Pointer = z.looseObject({
  version: z.string(),
  manifest_digest: Digest,
  revision: z.int(),
  request_id: z.string().optional().meta({ description: 'Of the request that moved the environment' }),
});

/**
 * What a follower of a model is told each time: the whole state, so that a lost message is made good by the next one.
 */
export const Snapshot = z
  .object({
    revision: z.int().min(0).meta({ description: 'How far the log was read when this was said' }),
    model: z.string(),
    generation: z.int().min(0).meta({ description: 'Raised only when the log is restored' }),
    epoch: z.string().nullable().meta({ description: 'One log’s own; null while the log is empty' }),
    active: z.record(z.string(), Pointer.nullable()),
    stale: z.boolean().optional().meta({ description: 'The registry cannot follow its log at the moment' }),
  })
  .meta({ id: 'Snapshot' });
export type Snapshot = z.infer<typeof Snapshot>;

/** The snapshot alone, as a poll gets it. */
export const PolledSnapshot = Snapshot.extend({
  id: z.string().meta({ description: 'To be sent back as Last-Event-ID' }),
  reset: z.literal(true).optional().meta({ description: 'The log does not hold what Last-Event-ID says' }),
}).meta({ id: 'PolledSnapshot' });
export type PolledSnapshot = z.infer<typeof PolledSnapshot>;
