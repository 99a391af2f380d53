import { resolve, sep } from 'node:path';
import type { Execute } from '../commands/execute.ts';
import { startDiscovery } from '../discovery/discovery.ts';
import type { Health } from '../http/services.ts';
import { readAt } from '../log/read.ts';
import { startActivationHistory } from '../projections/activation-history.ts';
import { startVolume, type VolumeProjection } from '../projections/volume/volume.ts';
import type { Opened, Parts } from './parts.ts';

/** Keeps the files on the volume and the activation history, and adopts folders that appear on the volume. */
export function startProjections(
  parts: Parts,
  execute: Execute,
  storeProblems: () => string[],
  opened: Opened,
): { files: VolumeProjection; health(): Health } {
  const { config, volume, projector, artifacts, cache, log } = parts;
  // Folders are made of copies then.
  const isElsewhere = cache !== null || config.REGISTRY_REFERENCES.length > 0;
  const files = startVolume({
    volume,
    artifacts,
    projector,
    laid: config.REGISTRY_VOLUME_VERSIONS ?? (isElsewhere ? 'active' : 'all'),
    log,
  });
  opened(() => files.close());
  const history = openHistory(parts);
  opened(() => history?.close());
  const { readModel } = projector;
  const { complete } = projector;
  const adopting = { volume, artifacts: artifacts.store, execute, readModel, complete, check: files.check, log };
  const discovery = config.REGISTRY_DISCOVERY === 'on' ? startDiscovery(adopting) : null;
  opened(() => discovery?.close());
  return { files, health };

  function health(): Health {
    const adoption = discovery?.problems() ?? [];
    return {
      log: projector.state(),
      complete: projector.complete(),
      gaps: projector.gaps(),
      volume_progress: files.progress(),
      volume: files.problems(),
      artifacts: files.incomplete,
      discovery: adoption.map((problem) => problem.replaceAll(`${volume}${sep}`, '')),
      store: storeProblems(),
      history: history?.problems() ?? [],
    };
  }
}

function openHistory({ config, volume, nats, projector, log }: Parts) {
  const { REGISTRY_HISTORY_FILE: file } = config;
  if (file === 'off') return null;
  const path = resolve(file);
  return startActivationHistory({ path, volume, projector, readAt: (revision) => readAt(nats, revision), log });
}
