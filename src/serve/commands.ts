import { randomUUID } from 'node:crypto';
import { type Collector, createCollector } from '../artifacts/collector.ts';
import type { ArtifactStore } from '../artifacts/store.ts';
import { createExecute, type Execute, type ExecuteOptions } from '../commands/execute.ts';
import type { ServerConfig } from '../config.ts';
import type { Nats } from '../log/connection.ts';
import { watchConvergence } from '../metrics/convergence.ts';
import type { Metrics } from '../metrics/metrics.ts';
import type { Fleet } from '../projections/fleet.ts';
import type { Projector } from '../projections/projector.ts';
import { entryOf, frozenCount, referencedDigests } from '../projections/registry.ts';
import { commandLimits } from './limits.ts';

interface CommandParts {
  config: ServerConfig;
  nats: Nats;
  projector: Projector;
  store: ArtifactStore;
  access: Pick<ExecuteOptions, 'policy' | 'blobAccess'>;
  fleet: Fleet;
  servers: Pick<ExecuteOptions, 'unableToRead'>;
  metrics: Metrics;
}

/** Decides on commands, and counts them; the collector deletes no bytes that a command is about to refer to. */
export function openCommands(parts: CommandParts): { execute: Execute; collector: Collector } {
  const { config, nats, projector, store, access, fleet, servers, metrics } = parts;
  const { policy, blobAccess } = access;
  const { registry } = projector;
  const live = () => projector.state() === 'live';
  const collector = createCollector(store, {
    referenced: () => referencedDigests(registry()),
    complete: () => live() && frozenCount(registry()) === 0,
  });
  const convergence = watchConvergence({ fleet, converged: metrics.converged, now: () => performance.now() });
  const execute = createExecute({
    nats,
    folded: {
      live,
      model: (name) => entryOf(registry(), name).model,
      frozen: (name) => entryOf(registry(), name).frozen,
      reached: projector.reached,
      appended: projector.appended,
    },
    artifacts: store,
    collector,
    policy,
    blobAccess,
    environments: config.REGISTRY_ENVIRONMENTS,
    ...commandLimits(config, policy, Date.now),
    loaders: fleet.of,
    unableToRead: servers.unableToRead,
    appendTook: metrics.appended,
    now: () => new Date(),
    newId: randomUUID,
  });
  return { execute: metrics.counting(execute, convergence.moved), collector };
}
