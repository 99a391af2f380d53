import type { Artifact } from '../domain/manifest.ts';
import type { ArtifactStore } from './store.ts';

/** An artifact whose blob is not in the store, or has another size there (`stored_size`). */
export interface MissingArtifact extends Artifact {
  stored_size?: number | undefined;
}

/** Returns the artifacts whose blobs the store lacks. */
export async function missingIn(store: ArtifactStore, artifacts: readonly Artifact[]): Promise<MissingArtifact[]> {
  const checked = artifacts.map(async (artifact) => ({
    ...artifact,
    stored_size: (await store.stat(artifact.digest))?.size,
  }));
  return (await Promise.all(checked)).filter(({ size, stored_size }) => stored_size !== size);
}
