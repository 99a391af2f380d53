import type { ArtifactStore } from '../../artifacts/store.ts';

/** Returns the size of all blobs, for a progress bar; 0 if none is drawn. */
export async function sizeOf(store: ArtifactStore, signal: AbortSignal): Promise<number> {
  let total = 0;
  if (process.stderr.isTTY) for await (const { size } of store.list(signal)) total += size;
  return total;
}
