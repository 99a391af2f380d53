import type { Digest } from '../domain/digest.ts';
import { Problem } from '../domain/errors.ts';
import type { ArtifactStore, Unfinished } from './store.ts';

/** How long an unreferenced blob is kept after its last `put`, so that an upload can precede its publish. */
export const GRACE_MS = 24 * 3600_000;
/** A deletion that was not answered may still happen until its signature expires: on S3, after 15 minutes. */
const DOUBT_MS = 15 * 60_000;

/** Deletes blobs that no version refers to. */
export interface Collector {
  /**
   * Protects blobs from deletion, until the returned function is called. Waits for deletions that have begun: only then
   * does the store say whether a blob is there.
   *
   * @throws {Problem} store-unavailable if it is not known whether a blob is being deleted
   */
  pin(digests: readonly Digest[]): Promise<() => void>;
  /** Deletes the unreferenced, unpinned blobs that were last put more than `GRACE_MS` before `now`; returns their number. */
  collect(now: number): Promise<number>;
}

/** The blobs that versions refer to, up to the event that was last read. */
export interface References {
  isReferenced(digest: Digest): boolean;
  /** Whether every published version was read. If not, nothing is deleted. */
  complete(): boolean;
}

/** @param doubtMs how long a blob is not used after a deletion of unknown outcome */
export function createCollector(
  store: ArtifactStore & Partial<Unfinished>,
  { isReferenced, complete }: References,
  doubtMs = DOUBT_MS,
): Collector {
  const pins = new Map<Digest, number>();
  const deletions = new Map<Digest, Promise<void>>();
  /** The digests whose deletion failed, with the time when that no longer matters. */
  const doubtful = new Map<Digest, number>();

  return {
    async pin(digests) {
      for (const digest of digests) pins.set(digest, (pins.get(digest) ?? 0) + 1);
      const unpin = () => digests.forEach(release);
      try {
        for (const digest of digests) {
          await deletions.get(digest);
          checkDoubt(digest);
        }
      } catch (error) {
        unpin();
        throw error;
      }
      return unpin;
    },

    async collect(now) {
      let deleted = 0;
      for await (const { digest, stored_at } of store.list()) {
        if (stored_at > now - GRACE_MS) continue;
        if (complete() && (await deleteUnused(digest))) deleted++;
      }
      await store.sweepUploads?.(now - GRACE_MS);
      return deleted;
    },
  };

  /** Awaits nothing between the check and the beginning of the deletion: a command may have pinned the blob just now. */
  async function deleteUnused(digest: Digest): Promise<boolean> {
    if (pins.has(digest) || isReferenced(digest)) return false;
    const deletion = store.delete(digest);
    deletions.set(
      digest,
      deletion
        .catch(() => void doubtful.set(digest, performance.now() + doubtMs))
        .finally(() => deletions.delete(digest)),
    );
    await deletion;
    return true;
  }

  function checkDoubt(digest: Digest): void {
    const until = doubtful.get(digest);
    if (until === undefined) return;
    if (performance.now() < until) {
      const detail = `The store did not confirm a deletion of ${digest}. Try again in 15 minutes.`;
      throw new Problem('store-unavailable', detail, { digest });
    }
    doubtful.delete(digest);
  }

  function release(digest: Digest): void {
    const left = pins.get(digest)! - 1;
    if (left === 0) pins.delete(digest);
    else pins.set(digest, left);
  }
}
