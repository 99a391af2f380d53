import { randomUUID } from 'node:crypto';
import { type Collector, createCollector } from '../artifacts/collector.ts';
import { createExecute, type Execute, type ExecuteOptions } from '../commands/execute.ts';
import { watchConvergence } from '../metrics/convergence.ts';
import { isReferenced } from '../projections/read-model/references.ts';
import { commandLimits } from './limits.ts';
import type { Parts } from './parts.ts';

/** Decides on commands, and counts them; the collector deletes no bytes that a command is about to refer to. */
export function openCommands(
  { config, nats, servers, projector, artifacts, fleet, metrics }: Parts,
  { policy, blobAccess }: Pick<ExecuteOptions, 'policy' | 'blobAccess'>,
  references: ExecuteOptions['references'],
): { execute: Execute; collector: Collector } {
  const { readModel } = projector;
  const live = () => projector.state() === 'live';
  const collector = createCollector(artifacts.store, {
    isReferenced: (digest) => isReferenced(readModel.db, digest),
    complete: () => live() && readModel.frozenModels.size === 0,
  });
  const convergence = watchConvergence({ fleet, converged: metrics.converged, now: () => performance.now() });
  const execute = createExecute({
    nats,
    folded: {
      live,
      model: (name) => readModel.model(name),
      frozen: (name) => readModel.frozen(name),
      reached: projector.reached,
      appended: projector.appended,
    },
    artifacts,
    references,
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
