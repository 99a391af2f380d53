import type { Digest } from '../domain/digest.ts';
import type { ArtifactStore } from './store.ts';

/** How long a blob that no version refers to is kept: an upload may come days before its publish, but not for ever. */
export const GRACE_MS = 24 * 3600_000;

export interface Collector {
  /** Keeps blobs from collection while a command that refers to them is under way. */
  pin(digests: readonly Digest[]): () => void;
  /** Deletes what nothing refers to and nobody put for `GRACE_MS`; returns how many. */
  collect(now: number): Promise<number>;
}

/** What versions refer to, as far as the log was read. */
export interface References {
  referenced(): Set<Digest>;
  /** Whether that is all: while versions may be published that were not read, nothing is collected. */
  complete(): boolean;
}

export function createCollector(store: ArtifactStore, { referenced, complete }: References): Collector {
  const pins = new Map<Digest, number>();

  return {
    pin(digests) {
      for (const digest of digests) pins.set(digest, (pins.get(digest) ?? 0) + 1);
      return () => digests.forEach(unpin);
    },

    async collect(now) {
      // A version is never unpublished: what is referred to now stays so, and needs no second look.
      const kept = referenced();
      let deleted = 0;
      for await (const { digest, stored_at } of store.list()) {
        if (stored_at > now - GRACE_MS || kept.has(digest)) continue;
        if (complete() && (await release(digest))) deleted++;
      }
      return deleted;
    },
  };

  /** Asked for each blob anew, with nothing awaited before the deletion: a command may just have pinned it. */
  async function release(digest: Digest): Promise<boolean> {
    if (pins.has(digest) || referenced().has(digest)) return false;
    await store.delete(digest);
    return true;
  }

  function unpin(digest: Digest): void {
    const left = pins.get(digest)! - 1;
    if (left === 0) pins.delete(digest);
    else pins.set(digest, left);
  }
}
