import { resolve, sep } from 'node:path';
import type { Logger } from 'pino';
import type { VolumeStore } from '../artifacts/stores/volume.ts';
import type { Execute } from '../commands/execute.ts';
import type { ServerConfig } from '../config.ts';
import { startDiscovery } from '../discovery/discovery.ts';
import type { Health } from '../http/services.ts';
import type { Nats } from '../log/connection.ts';
import { readAt } from '../log/read.ts';
import { startActivationHistory } from '../projections/activation-history.ts';
import type { Projector } from '../projections/projector.ts';
import { startVolume, type VolumeProjection } from '../projections/volume/volume.ts';
import type { Opened } from './opened.ts';

interface ProjectionParts {
  config: ServerConfig;
  volume: string;
  nats: Nats;
  projector: Projector;
  store: VolumeStore;
  execute: Execute;
  log: Logger;
}

/** Keeps the files on the volume and the activation history, and adopts folders that appear on the volume. */
export async function startProjections(
  parts: ProjectionParts,
  opened: Opened,
): Promise<{ files: VolumeProjection; health(): Health }> {
  const { config, volume, projector, store, execute, log } = parts;
  const files = await startVolume({ volume, store, projector, log });
  opened(() => files.close());
  const history = openHistory(parts);
  opened(() => history?.close());
  const { registry } = projector;
  const adopting = { volume, artifacts: store, execute, registry, check: files.check, log };
  const discovery = config.REGISTRY_DISCOVERY === 'on' ? await startDiscovery(adopting) : null;
  opened(() => discovery?.close());
  return { files, health };

  function health(): Health {
    const adoption = discovery?.problems() ?? [];
    return {
      log: projector.state(),
      complete: projector.complete(),
      gaps: projector.gaps(),
      volume: files.problems(),
      artifacts: files.incomplete(),
      discovery: adoption.map((problem) => problem.replaceAll(`${volume}${sep}`, '')),
      history: history?.problems() ?? [],
    };
  }
}

function openHistory({ config, volume, nats, projector, log }: ProjectionParts) {
  const { REGISTRY_HISTORY_FILE: file } = config;
  if (file === 'off') return null;
  const path = resolve(file);
  return startActivationHistory({ path, volume, projector, readAt: (revision) => readAt(nats, revision), log });
}
