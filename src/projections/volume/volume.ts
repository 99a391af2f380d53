import type { Logger } from 'pino';
import type { VolumeStore } from '../../artifacts/stores/volume.ts';
import type { LogPosition } from '../../log/identity.ts';
import { listNames } from '../lists/names.ts';
import type { Projector } from '../projector.ts';
import { modelNames } from '../read-model/models.ts';
import { type IncompleteVersion, MissingBytes } from './missing-bytes.ts';
import { modelFiles } from './model-files.ts';
import { createPathQueue, type PathWork } from './path-queue.ts';
import { writePosition } from './position-file.ts';

/** The files that joblib loaders open: `versions/`, `latest` and `active/`, as a projection of the log. */
export interface VolumeProjection {
  /** Resolves when every event of the model folded so far shows on the volume, or after 5 seconds. */
  settled(model: string): Promise<void>;
  /** Differences from the log, in one model or in all, as sentences; paths are relative to the volume. */
  problems(model?: string): string[];
  /** Versions whose bytes this volume lacks. */
  incomplete(): IncompleteVersion[];
  /** Brings a version's folder up to date, after a change there. */
  check(model: string, version: string): Promise<void>;
  close(): Promise<void>;
}

const SETTLE_TIMEOUT_MS = 5_000;
const RETRY_MS = 30_000;
const POSITION_EVERY_MS = 1_000;
/** The number of models reconciled at once: hashing a file takes memory and a file descriptor. */
const RECONCILED_AT_ONCE = 8;

export interface VolumeOptions {
  volume: string;
  store: VolumeStore;
  projector: Pick<Projector, 'readModel' | 'onEvent' | 'onState'>;
  log: Logger;
  retryMs?: number;
}

/** Brings the volume to the read model's state, and follows it from then on. The projector must be ready. */
export async function startVolume(options: VolumeOptions): Promise<VolumeProjection> {
  const { volume, store, projector, log, retryMs = RETRY_MS } = options;
  const { readModel } = projector;
  const bytes = new MissingBytes(store, readModel, log);
  const files = modelFiles(
    volume,
    store,
    bytes,
    (name) => readModel.model(name),
    (model) => listNames(readModel.db, { model }),
  );
  const queue = createPathQueue(volume, log);
  /** Models to be reconciled before other work on them. */
  const due = new Set<string>();
  let restoring = false;
  let saved: LogPosition | null = null;
  let saving: Promise<void> | null = null;

  projector.onEvent((applied) => {
    if (applied === null) forget();
    else if (!restoring) void add(applied.event.model, () => files.changedBy(applied.event)).then(bytes.report);
  });
  projector.onState((state) => {
    // Following a restored log before its end would move the links through every activation again.
    if (state !== 'live' || !restoring) return;
    restoring = false;
    void reconcile();
  });
  await reconcile();
  await savePosition();
  const retry = setInterval(queue.retry, retryMs);
  const position = setInterval(() => {
    saving ??= savePosition().finally(() => {
      saving = null;
    });
  }, POSITION_EVERY_MS);
  retry.unref();
  position.unref();

  return {
    async settled(model) {
      const timeout = Promise.withResolvers<void>();
      const timer = setTimeout(timeout.resolve, SETTLE_TIMEOUT_MS);
      await Promise.race([queue.idle(model), timeout.promise]);
      clearTimeout(timer);
    },
    problems: queue.problems,
    incomplete: () => bytes.versions(),
    check: (model, version) => add(model, () => [files.version(model, version)]),
    async close() {
      clearInterval(retry);
      clearInterval(position);
      await saving;
      await savePosition();
    },
  };

  /** The read model is empty now, and complete again at the end of the restored log. */
  function forget(): void {
    restoring = true;
    due.clear();
    queue.clear();
    bytes.clear();
  }

  function add(model: string, choose: () => PathWork[]): Promise<void> {
    return queue.add(model, () => (due.delete(model) ? files.all(model) : choose()));
  }

  async function reconcile(): Promise<void> {
    const names = modelNames(readModel.db);
    for (const name of names) due.add(name);
    const rest = names.values(); // shared by the workers
    const worker = async () => {
      for (const name of rest) await add(name, () => []);
    };
    await Promise.all(Array.from({ length: RECONCILED_AT_ONCE }, worker));
    bytes.report();
  }

  /** Saves which log the volume was built from, once every event up to there shows on the volume or is a problem. */
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
