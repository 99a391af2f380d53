import type { Logger } from 'pino';
import type { Artifacts } from '../../artifacts/artifacts.ts';
import type { RegistryEvent } from '../../domain/events.ts';
import type { LogPosition } from '../../log/identity.ts';
import type { Projector } from '../projector.ts';
import { modelNames } from '../read-model/models.ts';
import { forEachModel, layMissing } from './background.ts';
import { versionFolder } from './layout.ts';
import { type IncompleteVersions, MissingBytes } from './missing-bytes.ts';
import { exists, modelFiles } from './model-files.ts';
import { createPathQueue, type PathWork } from './path-queue.ts';
import { writePosition } from './position-file.ts';
import { countLaid, type LaidVersions, linkedVersions } from './versions.ts';

/** The files that joblib loaders open: `versions/`, `latest` and `active/`, as a projection of the log. */
export interface VolumeProjection {
  /** Resolves when every event of the model folded so far shows on the volume, or after 5 seconds. */
  settled(model: string): Promise<void>;
  /** Differences from the log, in one model or in all, as sentences; paths are relative to the volume. */
  problems(model?: string): string[];
  /** Versions whose bytes this volume lacks. */
  incomplete: IncompleteVersions;
  /** How many of the versions that are to have a folder were looked at since the start; those without their bytes count. */
  progress(): VolumeProgress;
  /** Brings a version's folder up to date, after a change there. */
  check(model: string, version: string): Promise<void>;
  /**
   * Checks a version's folder and the links to it; until `stop` is aborted, copies are read again. A folder that need not be
   * there is not laid.
   */
  scrub(model: string, version: string, stop: AbortSignal): Promise<void>;
  /** Lays the folder of a version that needs none; returns whether it is there within 5 seconds. */
  lay(model: string, version: string): Promise<boolean>;
  /** Removes a version's folder, unless a link points to it or it has other files; returns whether it did. */
  remove(model: string, version: string): Promise<boolean>;
  close(): Promise<void>;
}

export interface VolumeProgress {
  laid: number;
  total: number;
}

const SETTLE_TIMEOUT_MS = 5_000;
const RETRY_MS = 30_000;
const POSITION_EVERY_MS = 1_000;

export interface VolumeOptions {
  volume: string;
  artifacts: Artifacts;
  projector: Pick<Projector, 'readModel' | 'onEvent' | 'onState'>;
  /** Which versions get a folder; default: all. */
  laid?: LaidVersions;
  log: Logger;
  retryMs?: number;
}

/**
 * Brings the volume to the read model's state in the background, in order of need, and follows the read model from now on.
 * The projector must be ready.
 */
export function startVolume(options: VolumeOptions): VolumeProjection {
  const { volume, artifacts, projector, laid = 'all', log, retryMs = RETRY_MS } = options;
  const { readModel } = projector;
  const bytes = new MissingBytes(artifacts.reads, readModel, log);
  const files = modelFiles(volume, artifacts, bytes, (name) => readModel.model(name), laid);
  const queue = createPathQueue(volume, log);
  /** Models whose links, and the folders that they point to, are to be checked before other work on them. */
  const due = new Set<string>();
  /** The number of versions that the pass over all models has not looked at. */
  let pass = { left: 0, stopped: false };
  let passing: Promise<void>;
  let restoring = false;
  let saved: LogPosition | null = null;
  let saving: Promise<void> | null = null;

  projector.onEvent((applied) => {
    if (applied === null) forget();
    else if (!restoring) follow(applied.event);
  });
  projector.onState((state) => {
    // Following a restored log before its end would move the links through every activation again.
    if (state !== 'live' || !restoring) return;
    restoring = false;
    passing = reconcile();
  });
  passing = reconcile();
  const retry = setInterval(queue.retry, retryMs);
  const position = setInterval(save, POSITION_EVERY_MS);
  retry.unref();
  position.unref();

  return {
    settled: (model) => soon(queue.idle(model)),
    problems: queue.problems,
    incomplete: bytes,
    progress() {
      const total = countLaid(readModel.db, laid);
      return { laid: Math.max(0, total - pass.left), total };
    },
    check: (model, version) => add(model, () => [files.version(model, version)]),
    async scrub(model, version, stop) {
      const isLinked = linkedVersions(readModel.model(model)).includes(version);
      if (laid === 'active' && !isLinked && !(await exists(versionFolder(volume, model, version)))) return;
      await add(model, () => [files.version(model, version, stop), ...(isLinked ? files.links(model) : [])]);
    },
    async lay(model, version) {
      await soon(add(model, () => [files.version(model, version)]));
      return exists(versionFolder(volume, model, version));
    },
    async remove(model, version) {
      let isRemoved = false;
      const done = () => {
        isRemoved = true;
      };
      await add(model, () => [files.removed(model, version, done)]);
      return isRemoved;
    },
    async close() {
      clearInterval(retry);
      clearInterval(position);
      pass.stopped = true;
      await passing;
      await saving;
      await savePosition();
    },
  };

  function follow(event: RegistryEvent): void {
    if (event.type === 'version.archived') bytes.forget(event.model, event.data.version);
    void add(event.model, () => files.changedBy(event)).then(bytes.report);
  }

  /** The read model is empty now, and complete again at the end of the restored log. */
  function forget(): void {
    restoring = true;
    pass.stopped = true;
    pass.left = Number.POSITIVE_INFINITY;
    due.clear();
    queue.clear();
    bytes.clear();
  }

  function add(model: string, choose: () => PathWork[]): Promise<void> {
    return queue.add(model, () => [...(due.delete(model) ? files.needed(model) : []), ...choose()]);
  }

  /** What is needed now comes first in every model, then the other folders. */
  async function reconcile(): Promise<void> {
    const current = { left: Number.POSITIVE_INFINITY, stopped: false };
    pass = current;
    try {
      current.left = countLaid(readModel.db, laid);
      const { revision } = readModel.position;
      const names = modelNames(readModel.db);
      for (const name of names) due.add(name);
      await forEachModel(names, async (name) => {
        if (current.stopped) return;
        await add(name, () => []);
        if (laid === 'active') current.left -= linkedVersions(readModel.model(name)).length;
      });
      save();
      const lay = (model: string, version: string) => add(model, () => [files.version(model, version)]);
      const laying = { volume, readModel, revision, lay, looked: () => current.left--, stopped: () => current.stopped };
      if (laid === 'all') await forEachModel(names, (name) => layMissing(name, laying));
      if (!current.stopped) current.left = 0;
    } catch (err) {
      // The read model is damaged, which ends in another pass.
      log.error({ err }, 'the folders of versions were not laid');
    }
    bytes.report();
  }

  function save(): void {
    saving ??= savePosition().finally(() => {
      saving = null;
    });
  }

  /** Saves which log the volume was built from, once the links show every event up to there, or what is wrong with them. */
  async function savePosition(): Promise<void> {
    const { position } = readModel;
    if (restoring || due.size > 0 || position === saved) return;
    try {
      await queue.idle();
      if (readModel.position.generation !== position.generation) return; // the log was restored
      await writePosition(volume, position);
      saved = position;
    } catch (err) {
      log.error({ err }, 'the position of the volume was not saved');
    }
  }
}

/** Waits until it is done, or for 5 seconds. */
async function soon(done: Promise<void>): Promise<void> {
  const timeout = Promise.withResolvers<void>();
  const timer = setTimeout(timeout.resolve, SETTLE_TIMEOUT_MS);
  await Promise.race([done, timeout.promise]);
  clearTimeout(timer);
}
