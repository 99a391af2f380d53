import { jetstream, StorageType } from '@nats-io/jetstream';
import { Kvm } from '@nats-io/kv';
import { sha256Hex } from '../domain/digest.ts';
import { Problem } from '../domain/errors.ts';
import { isConflict, isNoResponders } from '../log/append.ts';
import type { Nats } from '../log/connection.ts';
import { replicasOf } from '../log/stream.ts';
import { createLimiter } from '../structures/limiter.ts';

/** The nonces of signatures. Each can be used once, across all servers and restarts. */
export interface Nonces {
  /**
   * Stores the nonce of a verified signature.
   *
   * @throws {Problem} unauthenticated if it was used before; too-many-requests if the key has used its share;
   *   log-unavailable if NATS does not answer
   */
  use(keyid: string, nonce: string): Promise<void>;
}

export const NONCES = 'signalbox_nonces';
/** Longer than a signature is accepted: from 300 s before its creation to 300 s after it, by the server's clock. */
const KEPT_MS = 15 * 60_000;
/** About 390,000 nonces. If the bucket is full, signatures are refused until the oldest nonces expire. */
const MAX_BYTES = 64 * 1024 * 1024;
/**
 * The limit of one key: 64,000 nonces in the 15 minutes that they are kept and the current minute. Six keys at their limit
 * fit into the bucket, so one key cannot block the others.
 */
export const NONCES_A_MINUTE = 4_000;
const MAX_VALUE_BYTES = 128;
const TIMEOUT_MS = 2_000;

/** @param share the limit of each key; each server counts for itself, as for other limits */
export function openNonces(
  nats: Nats,
  share = createLimiter({ quota: NONCES_A_MINUTE, window: 60 }, Date.now),
): Nonces {
  const buckets = new Kvm(jetstream(nats.nc, { timeout: TIMEOUT_MS }));

  return {
    async use(keyid, nonce) {
      takeFromShare(keyid);
      try {
        await create(sha256Hex(`${keyid} ${nonce}`));
      } catch (cause) {
        if (isConflict(cause)) {
          // Nothing was stored, and a replayed request must not use up the share of its key.
          share.giveBack(keyid);
          throw new Problem('unauthenticated', 'The signature was already used. Sign the request again.', {}, cause);
        }
        throw new Problem('log-unavailable', 'NATS did not confirm that the signature is new. Try again.', {}, cause);
      }
    },
  };

  /** @throws {Problem} too-many-requests */
  function takeFromShare(keyid: string): void {
    const { allowed, reset: retry_after } = share.take(keyid);
    if (allowed) return;
    const detail = `The key ${keyid} may sign ${share.quota} requests in ${share.window} s. Try again in ${retry_after} s.`;
    throw new Problem('too-many-requests', detail, { retry_after });
  }

  async function create(key: string): Promise<void> {
    const bucket = await buckets.open(NONCES); // sends no request
    // The client's own `create` reads after a failure, and hides the first error.
    const put = () => bucket.put(key, '', { previousSeq: 0 });
    try {
      await put();
    } catch (error) {
      if (!isNoResponders(error)) throw error;
      await ensureBucket();
      await put();
    }
  }

  async function ensureBucket(): Promise<void> {
    await buckets.create(NONCES, {
      storage: StorageType.File,
      history: 1,
      ttl: KEPT_MS,
      max_bytes: MAX_BYTES,
      maxValueSize: MAX_VALUE_BYTES,
      replicas: replicasOf(nats.nc),
    });
  }
}
