import type { Digest } from '../domain/digest.ts';
import type { ArtifactStore } from './store.ts';

/** How long an unreferenced blob is kept after its last `put`, so that an upload can precede its publish. */
export const GRACE_MS = 24 * 3600_000;

/** Deletes blobs that no version refers to. */
export interface Collector {
  /** Protects blobs from deletion, until the returned function is called. */
  pin(digests: readonly Digest[]): () => void;
  /** Deletes the unreferenced, unpinned blobs that were last put more than `GRACE_MS` before `now`; returns their number. */
  collect(now: number): Promise<number>;
}

/** The blobs that versions refer to, up to the event that was last read. */
export interface References {
  isReferenced(digest: Digest): boolean;
  /** Whether every published version was read. If not, nothing is deleted. */
  complete(): boolean;
}

export function createCollector(store: ArtifactStore, { isReferenced, complete }: References): Collector {
  const pins = new Map<Digest, number>();

  return {
    pin(digests) {
      for (const digest of digests) pins.set(digest, (pins.get(digest) ?? 0) + 1);
      return () => digests.forEach(unpin);
    },

    async collect(now) {
      let deleted = 0;
      for await (const { digest, stored_at } of store.list()) {
        if (stored_at > now - GRACE_MS) continue;
        if (complete() && (await deleteUnused(digest))) deleted++;
      }
      return deleted;
    },
  };

  /** Awaits nothing between the check and the deletion: a command may have pinned the blob just now. */
  async function deleteUnused(digest: Digest): Promise<boolean> {
    if (pins.has(digest) || isReferenced(digest)) return false;
    await store.delete(digest);
    return true;
  }

  function unpin(digest: Digest): void {
    const left = pins.get(digest)! - 1;
    if (left === 0) pins.delete(digest);
    else pins.set(digest, left);
  }
}
