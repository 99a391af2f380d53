import { setTimeout as sleep } from 'node:timers/promises';
import { JetStreamApiError } from '@nats-io/jetstream';
import { Problem } from '../../../domain/errors.ts';
import { abortable } from '../../../structures/abortable.ts';
import { beginChunks, purgeChunks } from './chunks.ts';
import { type Meta, readMeta, type StoredMeta, writeMeta } from './meta.ts';
import type { ObjectStream } from './stream.ts';

/** A `PartUpload` whose steps a signal can end. */
export interface NatsUpload {
  send(number: number, bytes: Buffer, sha256: Buffer, signal?: AbortSignal): Promise<void>;
  complete(signal?: AbortSignal): Promise<void>;
  abort(signal?: AbortSignal): Promise<void>;
}

/** Changes by others after which an upload gives up. */
const ATTEMPTS = 20;
const NEVER = new AbortController().signal;

/**
 * Begins an object: chunks first, then the description that makes them visible. The client's own `put` is not used. It waits
 * for each chunk, and if the description's acknowledgement is lost, it purges the chunks of an object that may be visible.
 */
export function beginUpload(stream: ObjectStream, key: string): NatsUpload {
  const chunks = beginChunks(stream, key);
  let mayBeVisible = false;

  return {
    send: (_, bytes, _sha256, signal) => chunks.write(bytes, signal),

    async complete(signal = NEVER) {
      const meta = { name: key, ...chunks.describe(), deleted: false };
      for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
        const existing = await abortable(readMeta(stream, key), signal);
        const isDone =
          existing && isSame(existing.meta, meta)
            ? await abortable(renew(existing), signal)
            : await abortable(replace(existing, meta), signal);
        if (isDone) return;
        // Without a pause, many clients that store the same object would get in each other's way.
        await sleep(Math.random() * 50 * (attempt + 1), null, { signal });
      }
      throw new Error(`other clients kept changing ${key}`);
    },

    async abort(signal) {
      if (!mayBeVisible) await chunks.discard(signal);
    },
  };

  /** Keeps the object that is there, because somebody may be reading its chunks. Returns false if it has changed. */
  async function renew({ meta, revision }: StoredMeta): Promise<boolean> {
    if (!(await writeMeta(stream, meta, revision))) return false;
    await chunks.discard();
    return true;
  }

  /** Makes the chunks the object. Returns false if it has changed. */
  async function replace(existing: StoredMeta | null, meta: Meta): Promise<boolean> {
    mayBeVisible = true;
    try {
      mayBeVisible = await writeMeta(stream, meta, existing?.revision ?? 0);
    } catch (error) {
      // Only the server's refusal tells that it is not stored.
      mayBeVisible = !(error instanceof Problem || error instanceof JetStreamApiError);
      throw error;
    }
    // What cannot be purged now is swept later.
    if (mayBeVisible && existing) await purgeChunks(stream, existing.meta.nuid).catch(() => {});
    return mayBeVisible;
  }
}

function isSame(a: Meta, b: Meta): boolean {
  return !a.deleted && a.size === b.size && a.digest === b.digest;
}
