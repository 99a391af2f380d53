import type { Digest } from '../domain/digest.ts';
import { EVERY_MODEL } from '../domain/permissions.ts';
import { BoundedMap } from '../structures/bounded-map.ts';
import { allows, type Identity, type Policy } from './policy.ts';

/**
 * Decides which bytes a caller may use. A digest is not a secret, so knowing one gives no right: neither to read the bytes,
 * nor to publish a version that refers to another caller's bytes and read them through it.
 */
export interface BlobAccess {
  /** Records that a caller sent these bytes, and so has them already, or named a place that has them and that all may use. */
  sent(actor: string, digest: Digest): void;
  /** The digests that the caller neither sent nor may read through a version that contains them. */
  foreign(caller: Identity, digests: readonly Digest[]): Set<Digest>;
}

const MAX_REMEMBERED = 100_000;

/** @param modelsWith returns the names of the models with a version that contains these bytes */
export function createBlobAccess(policy: Policy, modelsWith: (digest: Digest) => readonly string[]): BlobAccess {
  const sent = new BoundedMap<string, true>(MAX_REMEMBERED);
  const key = (actor: string, digest: Digest) => `${digest} ${actor}`;

  return {
    sent: (actor, digest) => void sent.set(key(actor, digest), true),

    foreign(caller, digests) {
      if (allows(policy, caller, { permission: 'read', model: EVERY_MODEL })) return new Set();
      const readable = (digest: Digest) =>
        modelsWith(digest).some((model) => allows(policy, caller, { permission: 'read', model }));
      return new Set(digests.filter((digest) => !sent.has(key(caller.actor, digest)) && !readable(digest)));
    },
  };
}
