import type { Wish } from '../../access/policy.ts';
import type { Digest } from '../../domain/digest.ts';
import { EVERY_MODEL } from '../../domain/permissions.ts';
import type { Registry } from '../../projections/registry.ts';
import { BoundedMap } from '../../structures/bounded-map.ts';

/** Who asks, as a request has it. */
interface Asker {
  actor: string;
  may(wish: Wish): boolean;
}

/**
 * Which bytes a caller may have. A digest is no secret, so it opens nothing by itself: neither for reading, nor for
 * publishing a version of one's own that refers to somebody else's bytes and reading them there.
 */
export interface BlobAccess {
  /** The caller has sent these bytes, and so has them already. */
  sent(actor: string, digest: Digest): void;
  /** Those of the digests that the caller neither sent nor may read a version of that refers to them. */
  foreign(asker: Asker, digests: readonly Digest[]): Set<Digest>;
}

const MAX_REMEMBERED = 100_000;

export function createBlobAccess(registry: () => Registry): BlobAccess {
  const sent = new BoundedMap<string, true>(MAX_REMEMBERED);
  const key = (actor: string, digest: Digest) => `${digest} ${actor}`;

  return {
    sent: (actor, digest) => void sent.set(key(actor, digest), true),

    foreign({ actor, may }, digests) {
      if (may({ permission: 'read', model: EVERY_MODEL })) return new Set();
      const foreign = new Set(digests.filter((digest) => !sent.has(key(actor, digest))));
      // Every version is looked at once, however many digests are asked for.
      for (const { model } of registry().models.values()) {
        if (foreign.size === 0) break;
        if (!may({ permission: 'read', model: model.name })) continue;
        for (const { manifest } of model.versions.values()) {
          for (const { digest } of manifest.artifacts) foreign.delete(digest);
        }
      }
      return foreign;
    },
  };
}
