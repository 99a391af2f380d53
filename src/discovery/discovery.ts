import { randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { ArtifactStore } from '../artifacts/store.ts';
import type { Execute } from '../commands/execute.ts';
import { internalIssuer } from '../commands/issuer.ts';
import { publish } from '../commands/publish.ts';
import { Problem } from '../domain/errors.ts';
import { METADATA_FILES } from '../domain/metadata.ts';
import { describeFolder } from '../files/describe.ts';
import { isErrno } from '../files/errno.ts';
import { filesToPublish } from '../files/folder.ts';
import type { ReadModel } from '../projections/read-model/read-model.ts';
import type { Candidate } from './candidates.ts';
import { ownFileAmong } from './own-files.ts';
import { watchPublishedFolders } from './published-folders.ts';
import { watchFolders } from './watched-folders.ts';

/** Adopts folders that appear under `versions/`. */
export interface Discovery {
  /** Why entries cannot be adopted, as sentences. */
  problems(): string[];
  close(): Promise<void>;
}

export interface DiscoveryOptions {
  volume: string;
  artifacts: ArtifactStore;
  execute: Execute;
  readModel: Pick<ReadModel, 'model' | 'db'>;
  /** Whether the read model was at the head of the log: before that, published folders look as if they were not. */
  complete(): boolean;
  /** Brings the folder of a published version up to date. */
  check(model: string, version: string): Promise<void>;
  log: Logger;
}

const SCAN_EVERY_MS = 2_000;
/** A folder in which nothing changed for this long is no longer being copied to. */
const SETTLED_MS = 5_000;

/** Scans from now on, every two seconds: not every file system in a container reports changes. */
export function startDiscovery(options: DiscoveryOptions): Discovery {
  const { volume, readModel, check, log } = options;
  // The last result for each folder that is not published, so that an unchanged folder is not hashed again.
  const seen = new Map<string, { changed_at: number; problem: string | null }>();
  const db = () => readModel.db;
  const folders = watchFolders(volume, db);
  const published = watchPublishedFolders({ volume, db, check, closed: () => closed });
  let closed = false;
  let timer: NodeJS.Timeout;
  let scanning = scan().finally(schedule);

  return {
    problems: () => [...seen.values()].flatMap(({ problem }) => problem ?? []),
    async close() {
      closed = true;
      clearTimeout(timer);
      await scanning;
    },
  };

  function schedule(): void {
    if (closed) return;
    timer = setTimeout(() => {
      scanning = scan().finally(schedule);
    }, SCAN_EVERY_MS);
  }

  async function scan(): Promise<void> {
    if (!options.complete()) return;
    try {
      const found = await folders.scan();
      const there = new Set(found.map(({ path }) => path));
      for (const path of seen.keys()) if (!there.has(path)) seen.delete(path);
      for (const candidate of found) if (!closed) await look(candidate);
      await published.scan();
    } catch (error) {
      log.error({ err: error }, 'the volume could not be scanned');
    }
  }

  async function look(candidate: Candidate): Promise<void> {
    const { path, model } = candidate;
    const begun = { request_id: randomUUID(), started: performance.now() };
    if (candidate.problem !== null) return report({ ...candidate, ...begun }, 0, candidate.problem);
    const { version } = candidate;
    const attempt = { path, model, version, ...begun };
    let changed_at = 0;
    try {
      // Until the folder above is read again, what was published since is still a candidate.
      if (readModel.model(model).record(version)) return void seen.delete(path);
      changed_at = await lastChange(path);
      if (seen.get(path)?.changed_at === changed_at) return;
      if (Date.now() - changed_at > SETTLED_MS) await adoptOnce(attempt, changed_at);
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return; // removed in the meantime
      // A failure of the log or the disk is retried; a problem in the folder remains until the folder changes.
      const temporary = error instanceof Problem && error.status >= 500;
      report(attempt, temporary ? 0 : changed_at, `${path}: ${error instanceof Error ? error.message : error}`, error);
    }
  }

  async function adoptOnce(attempt: Attempt & { version: string }, changed_at: number): Promise<void> {
    const { path, model, version, request_id } = attempt;
    const files = await filesToPublish(path);
    if (!files.some((file) => METADATA_FILES.some((name) => name === file.path))) {
      return report(attempt, changed_at, `${path} has neither metadata.json nor training_metadata.json`);
    }
    const own = await ownFileAmong(
      volume,
      files.map((file) => join(path, file.path)),
    );
    if (own) return report(attempt, changed_at, `${own} is a hard link to a file of the registry itself; remove it`);
    const manifest = await describeFolder(path);
    for (const { path: file, digest, size } of manifest.artifacts) {
      await options.artifacts.put(digest, createReadStream(join(path, file)), size);
    }
    if ((await lastChange(path)) !== changed_at) return; // still being written; the next scan tries again
    const issuer = internalIssuer(ACTOR, request_id);
    const { revision } = await options.execute(publish, model, { version, ...manifest }, issuer);
    seen.delete(path);
    log.info({ ...lineOf(attempt), revision, result: 'ok' }, 'adopted');
  }

  function report(attempt: Attempt, changed_at: number, problem: string, error?: unknown): void {
    const { path } = attempt;
    const result = error instanceof Problem ? error.code : 'not-adopted';
    if (seen.get(path)?.problem !== problem) log.warn({ ...lineOf(attempt), result, path, problem }, 'not adopted');
    seen.set(path, { changed_at, problem });
  }
}

const ACTOR = 'volume';

/** The fields of a write's log line (docs/operating.md). */
function lineOf({ model, version, request_id, started }: Attempt) {
  const latency_ms = Math.round(performance.now() - started);
  return { event_type: 'version.published', model, version, request_id, actor: ACTOR, latency_ms };
}

/** An attempt to adopt a candidate, logged like a request. */
interface Attempt {
  path: string;
  model: string;
  version: string | null;
  request_id: string;
  started: number;
}

/** Returns the time of the last change in a folder. */
async function lastChange(folder: string): Promise<number> {
  const files = await filesToPublish(folder);
  return Math.max((await stat(folder)).ctimeMs, ...files.map(({ changed_at }) => changed_at));
}
