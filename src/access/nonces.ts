import { JetStreamApiCodes, JetStreamApiError, jetstream, StorageType } from '@nats-io/jetstream';
import { Kvm } from '@nats-io/kv';
import { sha256Hex } from '../domain/digest.ts';
import { Problem } from '../domain/errors.ts';
import { isNoResponders } from '../log/append.ts';
import type { Nats } from '../log/connection.ts';
import { createLimiter } from '../structures/limiter.ts';

/** The nonces of signatures: each is good once, whichever server is asked, before and after a restart. */
export interface Nonces {
  /**
   * Stores the nonce of a verified signature.
   *
   * @throws {Problem} unauthenticated where it was used before; too-many-requests where the key has used its share;
   * log-unavailable where it cannot be known
   */
  use(keyid: string, nonce: string): Promise<void>;
}

export const NONCES = 'signalbox_nonces';
/** Longer than a signature can be good: 300 s before its time by our clock, and 300 s after. */
const KEPT_MS = 15 * 60_000;
/** Some 390,000 of them; beyond that signatures are refused until the oldest have gone. */
const MAX_BYTES = 64 * 1024 * 1024;
/**
 * Nonces of one key in each minute: 64,000 in the 15 minutes that they are kept, and the minute that begins. Six keys at
 * their full share fit into the bucket, so that no key can shut the others out.
 */
export const NONCES_A_MINUTE = 4_000;
const MAX_VALUE_BYTES = 128;
const TIMEOUT_MS = 2_000;

/** @param share of each key; counted by each server for itself, as other limits are */
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
          // Nothing was stored; and whoever replays a request must not use up the share of its key.
          share.giveBack(keyid);
          throw new Problem('unauthenticated', 'The signature was used before.', {}, cause);
        }
        throw new Problem('log-unavailable', 'NATS does not say whether the signature is new.', {}, cause);
      }
    },
  };

  /** @throws {Problem} too-many-requests */
  function takeFromShare(keyid: string): void {
    const { allowed, reset: retry_after } = share.take(keyid);
    if (allowed) return;
    const detail = `The key ${keyid} may sign ${share.quota} requests in ${share.window} s; try again in ${retry_after} s.`;
    throw new Problem('too-many-requests', detail, { retry_after });
  }

  async function create(key: string): Promise<void> {
    const bucket = await buckets.open(NONCES); // asks nobody
    // The client's own `create` goes on to read, and hides what went wrong first.
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
      replicas: nats.nc.info?.cluster ? 3 : 1,
    });
  }
}

function isConflict(error: unknown): boolean {
  if (!(error instanceof JetStreamApiError)) return false;
  const { StreamWrongLastSequence, StreamWrongLastSequenceUnknown } = JetStreamApiCodes;
  return [StreamWrongLastSequence, StreamWrongLastSequenceUnknown].some((code) => code === error.code);
}
