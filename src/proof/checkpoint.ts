import type { KeyObject } from 'node:crypto';
import { CompactSign, compactVerify, decodeProtectedHeader, errors } from 'jose';
import { z } from 'zod';
import { thumbprintOf } from './checkpoint-key.ts';
import { digestOfHeads, type LogState } from './heads.ts';
import { HistoryBroken } from './source.ts';

/** Where a log stood at a time, in a few numbers: what a checkpoint states. */
export const Checkpoint = z.strictObject({
  format: z.literal(1),
  generation: z.int().min(0),
  /** Hash of the body at revision 1; null for a log without it. */
  epoch: z.string().nullable(),
  revision: z.int().min(0),
  time: z.iso.datetime(),
  /** How many there are, archived or not. */
  models: z.int().min(0),
  /** See `digestOfHeads`. */
  digest: z.string(),
  /** See `LogState`. */
  order: z.string(),
});
export type Checkpoint = z.infer<typeof Checkpoint>;

const TYPE = 'signalbox-checkpoint+jws';

export function checkpointOf({ generation, epoch, revision, heads, order }: LogState, now: Date): Checkpoint {
  const said = { models: heads.size, digest: digestOfHeads(heads), order: `sha256:${order.copy().digest('hex')}` };
  return { format: 1, generation, epoch, revision, time: now.toISOString(), ...said };
}

/** The file's name that checkpoints are published under: sorted by name, they are in their order. */
export function checkpointName({ generation, revision }: Checkpoint): string {
  return `${generation}-${String(revision).padStart(12, '0')}.jws`;
}

/** As a compact JWS (RFC 7515), signed with an Ed25519 key. */
export async function signCheckpoint(checkpoint: Checkpoint, key: KeyObject): Promise<string> {
  return new CompactSign(Buffer.from(JSON.stringify(checkpoint)))
    .setProtectedHeader({ alg: 'EdDSA', typ: TYPE, kid: await thumbprintOf(key) })
    .sign(key);
}

/** @throws {HistoryBroken} for what is no checkpoint, or was not signed with this key's other half */
export async function verifyCheckpoint(jws: string, key: KeyObject): Promise<Checkpoint> {
  const header = headerOf(jws);
  if (header?.typ !== TYPE) throw new HistoryBroken('it is no checkpoint');
  const kid = await thumbprintOf(key);
  if (header.kid !== kid) throw new HistoryBroken(`it was signed with the key ${header.kid}, not with ${kid}`);
  const { payload } = await compactVerify(jws, key, { algorithms: ['EdDSA'] }).catch((cause: unknown) => {
    if (!(cause instanceof errors.JOSEError)) throw cause;
    throw new HistoryBroken('its signature does not fit what it says: it was altered', { cause });
  });
  const checkpoint = Checkpoint.safeParse(JSON.parse(Buffer.from(payload).toString('utf8')));
  if (checkpoint.success) return checkpoint.data;
  throw new HistoryBroken('it is a checkpoint of another format than this Signalbox knows', {
    cause: checkpoint.error,
  });
}

function headerOf(jws: string) {
  try {
    return decodeProtectedHeader(jws);
  } catch {
    return null;
  }
}
