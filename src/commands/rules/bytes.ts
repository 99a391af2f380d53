import type { BlobAccess } from '../../access/blob-access.ts';
import type { Identity } from '../../access/policy.ts';
import type { MissingArtifact } from '../../artifacts/missing.ts';
import { Problem } from '../../domain/errors.ts';
import type { Artifact } from '../../domain/manifest.ts';

/**
 * A caller may refer only to bytes that it sent or may read. Foreign bytes are answered like missing ones, so that the
 * answer does not reveal whether they exist.
 *
 * @throws {Problem} artifact-missing
 */
export function requireOwnBytes(artifacts: readonly Artifact[], caller: Identity, blobAccess: BlobAccess): void {
  if (artifacts.length === 0) return;
  const digests = artifacts.map(({ digest }) => digest);
  const foreign = blobAccess.foreign(caller, digests);
  const first = artifacts.find(({ digest }) => foreign.has(digest));
  if (first) throw artifactMissing(first);
}

/** @throws {Problem} artifact-missing; checksum-mismatch if the bytes are there with another size */
export function requireBytes([first]: readonly MissingArtifact[]): void {
  if (!first) return;
  throw first.stored_size === undefined ? artifactMissing(first) : sizeMismatch(first);
}

function artifactMissing({ path, digest }: Artifact): Problem {
  const detail = `Send the bytes of ${path} before the version that lists them.`;
  return new Problem('artifact-missing', detail, { path, digest });
}

/** Reveals that the bytes exist, so it is only for a caller that may use them. */
function sizeMismatch({ path, digest, size, stored_size }: MissingArtifact): Problem {
  const detail = `${path} has ${stored_size} bytes, not ${size} as its "size" says. Correct the size.`;
  return new Problem('checksum-mismatch', detail, { path, digest, expected: size, actual: stored_size });
}
