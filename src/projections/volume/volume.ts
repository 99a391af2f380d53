import { dirname, join } from 'node:path';
import type { Logger } from 'pino';
import type { VolumeStore } from '../../artifacts/stores/volume.ts';
import type { RegistryEvent } from '../../domain/events.ts';
import { activeVersion, latestVersion, type Model } from '../../domain/model.ts';
import { pointLink } from '../../files/link.ts';
import type { Projector } from '../projector.ts';
import { entryOf, type Registry } from '../registry.ts';
import { modelFolder, obstacleTo, versionFolder } from './layout.ts';
import { type IncompleteVersion, MissingBytes } from './missing-bytes.ts';
import { writePosition } from './position-file.ts';
import { layVersion } from './version-folder.ts';

/** The files that joblib loaders open: `versions/`, `latest` and `active/`, as a projection of the log. */
export interface VolumeProjection {
  /** Resolves when every event folded so far shows on the volume; within 5 seconds, whatever the disk does. */
  settled(): Promise<void>;
  /** What stands in the way, by path. */
  problems(): string[];
  /** Versions that cannot be laid, or served, for want of their bytes. */
  incomplete(): IncompleteVersion[];
  /** Lays a version's folder anew, for whoever saw it change. */
  check(model: string, version: string): Promise<void>;
  close(): Promise<void>;
}

const SETTLE_TIMEOUT_MS = 5_000;
const RETRY_MS = 30_000;
const POSITION_EVERY_MS = 1_000;

export interface VolumeOptions {
  volume: string;
  store: VolumeStore;
  projector: Projector;
  log: Logger;
}

/** Brings the volume to the read model's state, and follows it from then on. The projector must be ready. */
export async function startVolume({ volume, store, projector, log }: VolumeOptions): Promise<VolumeProjection> {
  const problems = new Map<string, string[]>();
  const bytes = new MissingBytes(store, projector.registry);
  let told = 0;
  // One job after the other: what a job does is told by the read model when it runs, so the volume only moves forward.
  let jobs: Promise<void> = Promise.resolve();
  let saved = '';

  projector.onEvent((applied) => enqueue(() => (applied ? project(applied.event) : reconcile(projector.registry()))));
  await enqueue(() => reconcile(projector.registry()));
  const retry = setInterval(() => enqueue(again), RETRY_MS);
  const position = setInterval(() => enqueue(savePosition), POSITION_EVERY_MS);
  retry.unref();
  position.unref();

  return {
    async settled() {
      const timeout = Promise.withResolvers<void>();
      const timer = setTimeout(timeout.resolve, SETTLE_TIMEOUT_MS);
      await Promise.race([jobs, timeout.promise]);
      clearTimeout(timer);
    },
    problems: () => [...problems.values()].flat(),
    incomplete: () => bytes.versions(),
    check: (model, version) => enqueue(() => lay(modelNamed(model), version)),
    async close() {
      clearInterval(retry);
      clearInterval(position);
      await enqueue(savePosition);
    },
  };

  function enqueue(job: () => Promise<void>): Promise<void> {
    jobs = jobs
      .then(job)
      .catch((error: unknown) => log.error({ err: error }, 'the volume could not be brought up to date'));
    return jobs;
  }

  function modelNamed(name: string): Model {
    return entryOf(projector.registry(), name).model;
  }

  async function project({ type, model: name, data }: RegistryEvent): Promise<void> {
    const model = modelNamed(name);
    if (type === 'version.published') await lay(model, data.version);
    if (type === 'version.published' || type === 'version.archived' || type === 'version.restored') await latest(model);
    if (type === 'version.activated' || type === 'version.rolled_back' || type === 'version.deactivated') {
      await active(model, data.environment);
    }
    tellMissing();
  }

  async function again(): Promise<void> {
    if (problems.size > 0) return reconcile(projector.registry());
    for (const { model, version } of bytes.versions()) await lay(modelNamed(model), version);
    tellMissing();
  }

  async function reconcile(registry: Registry): Promise<void> {
    problems.clear();
    bytes.clear();
    for (const { model } of registry.models.values()) {
      for (const version of model.versions.keys()) await lay(model, version);
      await latest(model);
      for (const environment of model.environments.keys()) await active(model, environment);
    }
    tellMissing();
    await savePosition();
  }

  /** In the log when there are more than before; /readyz names them all the time. */
  function tellMissing(): void {
    const versions = bytes.versions();
    if (versions.length > told) {
      const first = versions.slice(0, 5).map(({ model, version }) => `${model} ${version}`);
      log.error({ versions: versions.length, first }, 'the volume lacks the bytes of published versions');
    }
    told = versions.length;
  }

  async function lay(model: Model, version: string): Promise<void> {
    const folder = versionFolder(volume, model.name, version);
    await attempt(folder, async () => {
      const state = model.versions.get(version)!;
      return layVersion(folder, state, store, await bytes.look(model.name, state));
    });
  }

  async function latest(model: Model): Promise<void> {
    const version = latestVersion(model);
    const path = join(modelFolder(volume, model.name), 'latest');
    await attempt(path, () => pointed(path, version && `versions/${version}`));
  }

  async function active(model: Model, environment: string): Promise<void> {
    const version = activeVersion(model, environment)?.version;
    const path = join(modelFolder(volume, model.name), 'active', environment);
    await attempt(path, () => pointed(path, version ? `../versions/${version}` : null));
  }

  async function attempt(path: string, action: () => Promise<string[]>): Promise<void> {
    let found: string[];
    try {
      const obstacle = await obstacleTo(volume, dirname(path));
      found = obstacle ? [`${obstacle} is no folder of its own; move it away`] : await action();
    } catch (error) {
      found = [`${path}: ${error instanceof Error ? error.message : error}`];
    }
    if (found.length > 0) log.error({ problems: found }, 'the volume does not show what the log says');
    if (found.length > 0) problems.set(path, found);
    else problems.delete(path);
  }

  async function savePosition(): Promise<void> {
    const text = JSON.stringify(projector.registry().position);
    if (text !== saved) await writePosition(volume, projector.registry().position);
    saved = text;
  }
}

async function pointed(path: string, target: string | null): Promise<string[]> {
  await pointLink(path, target);
  return [];
}
