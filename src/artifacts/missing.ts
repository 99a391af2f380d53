import type { Artifact } from '../domain/manifest.ts';
import type { ArtifactStore } from './store.ts';

/** Those artifacts whose bytes a store lacks. */
export async function missingIn(store: ArtifactStore, artifacts: readonly Artifact[]): Promise<Artifact[]> {
  const missing = await Promise.all(
    artifacts.map(async ({ digest, size }) => (await store.stat(digest))?.size !== size),
  );
  return artifacts.filter((_, i) => missing[i]);
}
