import type { KeyObject } from 'node:crypto';
import { CompactSign, compactVerify, decodeProtectedHeader, errors } from 'jose';
import { z } from 'zod';
import { thumbprintOf } from './checkpoint-key.ts';
import { digestOfHeads, type LogState } from './heads.ts';
import { HistoryBroken } from './source.ts';

/** The state of a log at one time. */
export const Checkpoint = z.strictObject({
  format: z.literal(1),
  generation: z.int().min(0),
  /** SHA-256 of the body at revision 1; null if the log does not have it. */
  epoch: z.string().nullable(),
  revision: z.int().min(0),
  time: z.iso.datetime(),
  /** The number of models. */
  models: z.int().min(0),
  /** See `digestOfHeads`. */
  digest: z.string(),
  /** See `LogState`. */
  order: z.string(),
});
export type Checkpoint = z.infer<typeof Checkpoint>;

const TYPE = 'signalbox-checkpoint+jws';

export function checkpointOf({ generation, epoch, revision, heads, order }: LogState, now: Date): Checkpoint {
  const digests = { digest: digestOfHeads(heads), order: `sha256:${order()}` };
  return { format: 1, generation, epoch, revision, time: now.toISOString(), models: heads.size, ...digests };
}

/** Returns the file name of a published checkpoint. Sorted by name, checkpoints are in order. */
export function checkpointName({ generation, revision }: Checkpoint): string {
  return `${generation}-${String(revision).padStart(12, '0')}.jws`;
}

/** Returns a compact JWS (RFC 7515), signed with an Ed25519 key. */
export async function signCheckpoint(checkpoint: Checkpoint, key: KeyObject): Promise<string> {
  return new CompactSign(Buffer.from(JSON.stringify(checkpoint)))
    .setProtectedHeader({ alg: 'EdDSA', typ: TYPE, kid: await thumbprintOf(key) })
    .sign(key);
}

/** @throws {HistoryBroken} if it is not a checkpoint, or not signed with the private key of `key` */
export async function verifyCheckpoint(jws: string, key: KeyObject): Promise<Checkpoint> {
  const header = headerOf(jws);
  if (header?.typ !== TYPE) throw new HistoryBroken('it is not a checkpoint');
  const kid = await thumbprintOf(key);
  if (header.kid !== kid) throw new HistoryBroken(`it was signed with the key ${header.kid}, not with ${kid}`);
  const { payload } = await compactVerify(jws, key, { algorithms: ['EdDSA'] }).catch((cause: unknown) => {
    if (!(cause instanceof errors.JOSEError)) throw cause;
    throw new HistoryBroken('its signature is invalid: the checkpoint was altered', { cause });
  });
  const checkpoint = Checkpoint.safeParse(JSON.parse(Buffer.from(payload).toString('utf8')));
  if (checkpoint.success) return checkpoint.data;
  throw new HistoryBroken('its format is unknown to this version of Signalbox', { cause: checkpoint.error });
}

function headerOf(jws: string) {
  try {
    return decodeProtectedHeader(jws);
  } catch {
    return null;
  }
}
