import type { Digest } from './digest.ts';
import type { Artifact } from './manifest.ts';

/** An artifact whose bytes stay outside of the store. */
export type Referred = Artifact & { source: string };

export function isReferred(artifact: Artifact): artifact is Referred {
  return artifact.source !== undefined;
}

/** An object that a version refers to, as it was when its bytes were verified. */
export interface Reference {
  source: string;
  digest: Digest;
  size: number;
  /** Its ETag, or what its storage has in place of one; null if the storage has none. */
  etag: string | null;
}
