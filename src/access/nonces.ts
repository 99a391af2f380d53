import { JetStreamApiCodes, JetStreamApiError, jetstream, StorageType } from '@nats-io/jetstream';
import { Kvm } from '@nats-io/kv';
import { sha256Hex } from '../domain/digest.ts';
import { Problem } from '../domain/errors.ts';
import { nobodyListened } from '../log/append.ts';
import type { Nats } from '../log/connection.ts';

/** The nonces of signatures: each is good once, whichever server is asked, before and after a restart. */
export interface Nonces {
  /** @throws {Problem} unauthenticated where it was used before; log-unavailable where that cannot be known */
  use(keyid: string, nonce: string): Promise<void>;
}

export const NONCES = 'signalbox_nonces';
/** Longer than a signature can be good: 300 s before its time by our clock, and 300 s after. */
const KEPT_MS = 15 * 60_000;
/** Some 400,000 of them; beyond that signatures are refused until the oldest have gone. */
const MAX_BYTES = 64 * 1024 * 1024;
const MAX_VALUE_BYTES = 128;
const TIMEOUT_MS = 2_000;

export function openNonces(nats: Nats): Nonces {
  const buckets = new Kvm(jetstream(nats.nc, { timeout: TIMEOUT_MS }));

  return {
    async use(keyid, nonce) {
      try {
        await create(sha256Hex(`${keyid} ${nonce}`));
      } catch (cause) {
        if (isConflict(cause)) throw new Problem('unauthenticated', 'The signature was used before.', {}, cause);
        throw new Problem('log-unavailable', 'NATS does not say whether the signature is new.', {}, cause);
      }
    },
  };

  async function create(key: string): Promise<void> {
    const bucket = await buckets.open(NONCES); // asks nobody
    // The client's own `create` goes on to read, and hides what went wrong first.
    const put = () => bucket.put(key, '', { previousSeq: 0 });
    try {
      await put();
    } catch (error) {
      if (!nobodyListened(error)) throw error;
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
