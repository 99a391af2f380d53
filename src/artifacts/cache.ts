import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Digest } from '../domain/digest.ts';
import { Problem } from '../domain/errors.ts';
import { openPlaces } from '../structures/places.ts';
import type { Artifacts, Reads } from './artifacts.ts';
import { inStep } from './in-step.ts';
import type { Addressable, ArtifactStore, ByteRange } from './store.ts';
import type { VolumeStore } from './stores/volume.ts';

/** A reader waits this long for the copy that another one, or it itself, makes; then it reads the store. */
const WAIT_MS = 2_000;
const FILLS_AT_ONCE = 4;
const MAX_FILLS = 100;

export interface CacheOptions {
  /** Larger blobs are not copied for readers. */
  largest: number;
  /** Counts reads: whether there was a copy. */
  read(hit: boolean): void;
  waitMs?: number;
  /** What is read in place of the store, such as the store together with what is elsewhere. */
  origin?: Reads;
}

export interface Cache extends Artifacts {
  /** Whether blobs were copied to the volume since the last call. */
  grown(): boolean;
  /** Ends the copies that are being made. */
  close(): Promise<void>;
}

/**
 * Keeps copies of a store's blobs on the volume. What is put is written to both, and what is read is copied once, however
 * many ask for it. A copy has the right bytes, because `put` verifies them. Only the store says what is there.
 */
export function createCache(
  store: ArtifactStore & Partial<Addressable>,
  volume: VolumeStore,
  options: CacheOptions,
): Cache {
  const { largest, read, waitMs = WAIT_MS, origin = store } = options;
  const closing = new AbortController();
  /** The copies that are being made. */
  const fills = new Map<Digest, Promise<void>>();
  const places = openPlaces(FILLS_AT_ONCE);
  let copies = 0;
  let counted = 0;

  const cached: Artifacts['store'] = {
    ...store,
    async put(digest, bytes, size, signal) {
      const [toStore, toVolume] = inStep(bytes);
      const failed = new AbortController();
      const either = AbortSignal.any([failed.signal, ...(signal ? [signal] : [])]);
      // What the volume lacks, such as space, is no reason to refuse the bytes.
      const copied = volume
        .put(digest, toVolume, size, either)
        .then(() => copies++)
        .catch(() => {})
        .finally(() => toVolume.return());
      try {
        return await store.put(digest, toStore, size, signal);
      } catch (error) {
        failed.abort();
        throw error;
      } finally {
        await toStore.return();
        await copied;
      }
    },
  };

  return {
    store: cached,
    volume,
    origin,
    reads: {
      stat: async (digest, signal) => (await volume.stat(digest)) ?? origin.stat(digest, signal),
      async get(digest, range, signal) {
        const hit = await volume.touch(digest);
        read(hit);
        if (!hit) await Promise.race([fillForReaders(digest), sleep(waitMs, null, { ref: false })]);
        return (await copyOf(digest, range, signal)) ?? origin.get(digest, range, signal);
      },
    },
    async bring(digest, signal) {
      if (await volume.touch(digest)) return;
      await fill(digest);
      signal?.throwIfAborted();
    },
    grown() {
      const result = copies > counted;
      counted = copies;
      return result;
    },
    async close() {
      closing.abort();
      await Promise.allSettled(fills.values());
    },
  };

  async function fillForReaders(digest: Digest): Promise<void> {
    try {
      if (!fills.has(digest)) {
        if (fills.size >= MAX_FILLS) return;
        const found = await origin.stat(digest, closing.signal);
        if (found && found.size > largest) return;
      }
      await fill(digest);
    } catch (error) {
      if (!(error instanceof Problem && error.code === 'volume-full')) throw error; // the store is read without a copy
    }
  }

  function fill(digest: Digest): Promise<void> {
    const filling = fills.get(digest) ?? copy(digest).finally(() => fills.delete(digest));
    fills.set(digest, filling);
    return filling;
  }

  async function copy(digest: Digest): Promise<void> {
    await places.take();
    try {
      const { signal } = closing;
      await volume.put(digest, await origin.get(digest, undefined, signal), undefined, signal);
      copies++;
    } catch (error) {
      if (!(error instanceof Problem && error.code === 'checksum-mismatch')) throw error;
      const detail = `The artifact store has other bytes as ${digest}. Run "signalbox scrub".`;
      throw new Problem('store-unavailable', detail, { digest }, error);
    } finally {
      places.release();
    }
  }

  /** Null if it was deleted just now. */
  async function copyOf(digest: Digest, range?: ByteRange, signal?: AbortSignal): Promise<Readable | null> {
    try {
      return await volume.get(digest, range, signal);
    } catch (error) {
      if (error instanceof Problem && error.code === 'unknown-blob') return null;
      throw error;
    }
  }
}
