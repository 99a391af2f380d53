import type { Artifact } from '../domain/manifest.ts';
import { inParallel } from '../structures/in-parallel.ts';
import type { ArtifactStore } from './store.ts';

/** An artifact whose blob is not in the store, or has another size there (`stored_size`). */
export interface MissingArtifact extends Artifact {
  stored_size?: number | undefined;
}

/** A store over the network has a limited number of connections. */
const AT_ONCE = 32;

/** Returns the artifacts whose blobs the store lacks, in their order. */
export async function missingIn(
  store: Pick<ArtifactStore, 'stat'>,
  artifacts: readonly Artifact[],
): Promise<MissingArtifact[]> {
  const checked = await inParallel(artifacts, AT_ONCE, async (artifact) => ({
    ...artifact,
    stored_size: (await store.stat(artifact.digest))?.size,
  }));
  return checked.filter(({ size, stored_size }) => stored_size !== size);
}
