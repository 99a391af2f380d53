import { statfs } from 'node:fs/promises';
import type { SnapshotStream } from '../http/api/snapshot-stream.ts';
import type { Health } from '../http/services.ts';
import type { Nats } from '../log/connection.ts';
import { readHead } from '../log/stream.ts';
import { addGauges } from '../metrics/gauges.ts';
import type { Metrics } from '../metrics/metrics.ts';
import type { Fleet } from '../projections/fleet.ts';
import type { Projector } from '../projections/projector.ts';
import { frozenCount } from '../projections/registry.ts';
import { version } from '../version.ts';

interface MeasuredParts {
  metrics: Metrics;
  environments: readonly string[];
  volume: string;
  nats: Nats;
  projector: Projector;
  fleet: Fleet;
  snapshots: SnapshotStream;
  health(): Health;
}

/** Adds the metrics that are read from the other parts at each scrape. */
export function measure(parts: MeasuredParts): void {
  const { metrics, environments, volume, nats, projector, fleet, snapshots, health } = parts;
  const { registry, state, onState } = projector;
  addGauges(metrics.register, {
    version,
    environments,
    state,
    onState,
    revision: () => registry().position.revision,
    head: async () => (await readHead(nats)).revision,
    gaps: () => projector.gaps().length,
    models: () => ({ known: registry().models.size, frozen: frozenCount(registry()) }),
    loaders: fleet.all,
    followers: snapshots.followers,
    problems() {
      const { volume, artifacts, discovery, history } = health();
      const lists = { volume, artifacts, discovery, history };
      return Object.fromEntries(Object.entries(lists).map(([part, list]) => [part, list.length]));
    },
    freeBytes: async () => {
      const { bavail, bsize } = await statfs(volume);
      return bavail * bsize;
    },
    now: () => performance.now(),
  });
}
