import { randomUUID } from 'node:crypto';
import { lstat, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Copies } from '../artifacts/copies.ts';
import { createFailures, type Failures } from '../artifacts/failures.ts';
import { inspectBlob } from '../artifacts/scrub.ts';
import type { ArtifactStore } from '../artifacts/store.ts';
import type { Digest } from '../domain/digest.ts';
import { ifMissing } from '../files/errno.ts';
import { placeBlob } from '../files/place.ts';
import { obstacleTo } from '../projections/volume/layout.ts';
import { type ScrubResult, scrubBlob } from '../projections/volume/repair.ts';
import type { LogSource } from '../proof/source.ts';
import { openTasks } from '../structures/tasks.ts';
import { filesIn, type PublishedFile } from './references.ts';

const AT_ONCE = 4;
const FULL_SPEED = Number.POSITIVE_INFINITY;

export interface ScrubOptions {
  store: ArtifactStore;
  /** The files on the volume: the store itself, or copies of what is in it. */
  copies: Copies;
  volume: string;
  /** What versions refer to; null if it is not known. Then nothing can be missing. */
  referenced: ReadonlySet<Digest> | null;
  /** Opens the log once more. */
  readLog<T>(use: (source: LogSource) => Promise<T>): Promise<T>;
  signal: AbortSignal;
  /** Called with the number of bytes of each blob after it was read. */
  progress?(bytes: number): void;
}

export interface Scrubbed extends Record<ScrubResult, number> {
  /** The size of the blobs in the store. */
  bytes: number;
  /** The blobs that were not intact. */
  blobs: ScrubbedBlob[];
  failed: Failures['list'];
}

export interface ScrubbedBlob {
  digest: Digest;
  result: ScrubResult;
  /** What needs it. */
  files: PublishedFile[];
}

/**
 * Reads the blobs of a store and their copies on the volume, and looks for those that versions refer to. Then repairs what
 * can be repaired. A registry may run meanwhile. After an interruption, a repetition repairs the rest.
 */
export async function scrubStores(options: ScrubOptions): Promise<Scrubbed> {
  const { volume, referenced, readLog, signal } = options;
  const failures = createFailures();
  const result: Scrubbed = { intact: 0, restored: 0, lost: 0, missing: 0, bytes: 0, blobs: [], failed: failures.list };
  const suspects = await inspectAll(options, result, failures);
  if (suspects.size === 0) return result;
  // Only now, and only for these: a log may have millions of files.
  const files = referenced === null ? new Map() : await readLog((source) => filesIn(source, suspects, volume));
  let end: { error: unknown } | null = null;
  for (const digest of suspects) {
    try {
      if (end) throw end.error; // so that every blob is in the result
      await repair(digest, files.get(digest) ?? []);
      failures.passed();
    } catch (error) {
      signal.throwIfAborted();
      if (!failures.add(digest, error)) end = { error };
    }
  }
  return result;

  async function repair(digest: Digest, needing: PublishedFile[]): Promise<void> {
    const { store, copies } = options;
    const bring = async () => {
      await copies.put(digest, await store.get(digest, undefined, signal), undefined, signal);
    };
    const found = await scrubBlob(digest, {
      volume,
      artifacts: { store, volume: copies, bring },
      files: () => needing,
      check: (file) => layAgain(file, volume, () => copies.pathOf(digest)),
      readStore: true,
      rate: FULL_SPEED,
      stop: signal,
    });
    result[found]++;
    if (found !== 'intact') result.blobs.push({ digest, result: found, files: needing });
  }
}

/** Counts the intact blobs, and returns the others. */
async function inspectAll(options: ScrubOptions, result: Scrubbed, failures: Failures): Promise<Set<Digest>> {
  const { store, referenced, signal, progress = () => {} } = options;
  const suspects = new Set<Digest>();
  const unlisted = new Set(referenced);
  const running = openTasks(AT_ONCE);
  try {
    for await (const { digest, size } of store.list(signal)) {
      unlisted.delete(digest);
      await running.start(() => inspect(digest, size));
    }
    for (const digest of unlisted) await running.start(() => inspect(digest, 0));
  } finally {
    await running.end();
  }
  return suspects;

  async function inspect(digest: Digest, size: number): Promise<void> {
    try {
      const state = await stateOf(digest, options);
      if (state === 'intact') result.intact++;
      else if (state === 'suspect') suspects.add(digest);
      result.bytes += size;
      failures.passed();
    } catch (error) {
      signal.throwIfAborted();
      if (!failures.add(digest, error)) throw error;
    }
    progress(size);
  }
}

/** `gone` is a blob that no version needs, and that was deleted since it was listed. */
async function stateOf(
  digest: Digest,
  { store, copies, referenced, signal }: ScrubOptions,
): Promise<'intact' | 'suspect' | 'gone'> {
  const stored = await inspectBlob(store, digest, signal, FULL_SPEED);
  if (stored === 'missing' && !referenced?.has(digest)) return 'gone';
  const copy = store === copies ? stored : await inspectBlob(copies, digest, signal, FULL_SPEED);
  return stored === 'intact' && copy !== 'damaged' ? 'intact' : 'suspect';
}

/** Lays a file of a version again if it is missing: as a registry does, which may do so at the same time. */
async function layAgain(
  { folder, path, published_at }: PublishedFile,
  volume: string,
  pathOf: () => string,
): Promise<void> {
  const isThere = (found: string) => lstat(found).then(() => true, ifMissing(false));
  if ((await obstacleTo(volume, dirname(path))) || !(await isThere(folder))) return;
  const blob = pathOf();
  if ((await isThere(path)) || !(await isThere(blob))) return;
  const fresh = join(dirname(path), `.${randomUUID()}.new`);
  try {
    await placeBlob(blob, fresh, published_at);
    await rename(fresh, path);
  } finally {
    await rm(fresh, { force: true }); // rename(2) keeps it if the path is a link to the same blob by now
  }
}
