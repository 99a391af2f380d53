import type { Artifact } from '../domain/manifest.ts';
import type { ArtifactStore } from './store.ts';

/** An artifact whose bytes are not in the store, or have another size there than it says. */
export interface MissingArtifact extends Artifact {
  stored_size?: number | undefined;
}

/** Those artifacts whose bytes a store lacks. */
export async function missingIn(store: ArtifactStore, artifacts: readonly Artifact[]): Promise<MissingArtifact[]> {
  const looked = artifacts.map(async (artifact) => ({
    ...artifact,
    stored_size: (await store.stat(artifact.digest))?.size,
  }));
  return (await Promise.all(looked)).filter(({ size, stored_size }) => stored_size !== size);
}
