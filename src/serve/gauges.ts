import { statfs } from 'node:fs/promises';
import type { SnapshotStream } from '../http/api/snapshot-stream.ts';
import type { Health } from '../http/services.ts';
import { readHead } from '../log/stream.ts';
import { addGauges } from '../metrics/gauges.ts';
import type { VolumeProjection } from '../projections/volume/volume.ts';
import { version } from '../version.ts';
import type { Parts } from './parts.ts';

/** Adds the metrics that are read from the other parts at each scrape. */
export function measure(
  { config, volume, nats, projector, fleet, metrics }: Parts,
  files: Pick<VolumeProjection, 'progress'>,
  snapshots: SnapshotStream,
  health: () => Health,
): void {
  const { readModel, state, onState } = projector;
  addGauges(metrics.register, {
    version,
    environments: config.REGISTRY_ENVIRONMENTS,
    state,
    onState,
    revision: () => readModel.position.revision,
    head: async () => (await readHead(nats)).revision,
    gaps: () => projector.gaps().length,
    models: () => ({ known: readModel.modelCount, frozen: readModel.frozenModels.size }),
    loaders: fleet.all,
    followers: snapshots.followers,
    progress: files.progress,
    problems() {
      const { volume, artifacts, discovery, store, history } = health();
      const lists = { volume, discovery, store, history };
      const counts = Object.entries(lists).map(([part, list]) => [part, list.length]);
      return { ...Object.fromEntries(counts), artifacts: artifacts.count };
    },
    freeBytes: async () => {
      const { bavail, bsize } = await statfs(volume);
      return bavail * bsize;
    },
    now: () => performance.now(),
  });
}
