import { randomUUID } from 'node:crypto';
import type { Cache } from '../artifacts/cache.ts';
import { evict } from '../projections/volume/eviction.ts';
import type { VolumeProjection } from '../projections/volume/volume.ts';
import type { Opened, Parts } from './parts.ts';

const EVERY_MS = 30_000;
const GIB = 1024 ** 3;

/** Deletes copies of a store's blobs when they take more space than they may. */
export function startEvicting(
  cache: Cache,
  parts: Parts,
  files: Pick<VolumeProjection, 'remove'>,
  opened: Opened,
): void {
  const { config, volume, projector, log } = parts;
  const limit = config.REGISTRY_CACHE_GIB * GIB;
  let running = Promise.resolve();
  const timer = setInterval(() => {
    // A read model that is made anew does not know which versions are needed.
    if (projector.complete() && cache.grown()) running = running.then(run);
  }, EVERY_MS);
  opened(() => {
    clearInterval(timer);
    return running;
  });

  async function run(): Promise<void> {
    const line = { event_type: 'copies.evicted', request_id: randomUUID(), actor: 'registry' };
    try {
      const { readModel } = projector;
      const bytes = await evict({
        volume,
        copies: cache.volume,
        readModel,
        isStored: async (digest) => (await cache.origin.stat(digest)) !== null,
        limit,
        remove: files.remove,
        now: Date.now(),
      });
      if (bytes > 0) log.info({ ...line, bytes }, 'deleted copies of artifacts that were unused for longest');
    } catch (err) {
      log.error({ ...line, err }, 'copies of artifacts could not be deleted');
    }
  }
}
