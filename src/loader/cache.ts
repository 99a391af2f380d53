import { readdir, readFile, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { openVolumeStore } from '../artifacts/stores/volume.ts';
import type { Digest } from '../domain/digest.ts';
import { Target } from '../domain/fleet.ts';
import { parsedOrNull } from '../domain/json.ts';
import { type Artifact, digestOf, Manifest } from '../domain/manifest.ts';
import { ifMissing } from '../files/errno.ts';
import { replaceFile } from '../files/replace.ts';
import { asCacheFull, ensureBlob, ensureFolder, UNFINISHED } from './cached-files.ts';
import { LoadFailure } from './failure.ts';
import { checkPrivateFolder, openPrivateFolder } from './private-folder.ts';

/** The version that served last, and the position in the log that was accepted last. */
export const LastGood = z.object({
  generation: z.int(),
  epoch: z.string().nullable(),
  revision: z.int(),
  id: z.string(),
  target: Target,
});
export type LastGood = z.infer<typeof LastGood>;

/** Files by content under one folder that processes may share: every file and folder appears by rename. */
export interface Cache {
  /** Manifests found and fetched. */
  counts: { hits: number; misses: number };
  /** Returns a manifest; `fetch` returns its text if it is missing. @throws {LoadFailure} digest-mismatch, cache-full */
  manifest(digest: Digest, fetch: () => Promise<string>): Promise<Manifest>;
  /** Ensures that a blob is there and whole; `fetch` returns its bytes. @throws {LoadFailure} digest-mismatch, cache-full */
  blob(artifact: Artifact, fetch: () => AsyncIterable<Uint8Array>): Promise<void>;
  /** Returns a folder with a version's files, whose blobs are there. @throws {LoadFailure} cache-full */
  folder(digest: Digest, manifest: Manifest): Promise<string>;
  lastGood(): Promise<LastGood | null>;
  saveLastGood(lastGood: LastGood): Promise<void>;
  /** Marks a version as used now. */
  touch(digest: Digest): Promise<void>;
  /** Deletes the versions that were unused for longest until the rest fits; keeps `inUse`. */
  sweep(inUse: readonly Digest[]): Promise<void>;
}

export interface CacheOptions {
  folder: string;
  model: string;
  environment: string;
  /** Bytes that a sweep keeps. */
  limit: number;
  /** Bytes kept free on the disk. */
  reserve?: number;
}

const FOLDERS = ['blobs', 'blobs/sha256', 'manifests', 'versions', 'last-good'];
const HOUR_MS = 3600_000;
/** Older unfinished files belong to a process that has ended. */
const ABANDONED_MS = 24 * HOUR_MS;

/**
 * Opens a cache. No other user may write to it, because its files are executed.
 *
 * @throws {UnsafeCacheFolder} if another user could change its files
 */
export async function openCache({ folder: given, model, environment, limit, reserve }: CacheOptions): Promise<Cache> {
  const folder = await openPrivateFolder(given, FOLDERS);
  const manifests = join(folder, 'manifests');
  const versions = join(folder, 'versions');
  const lastGoodFile = join(folder, 'last-good', `${model}.${environment}.json`);
  const store = await openVolumeStore(folder, reserve, ABANDONED_MS);
  const counts = { hits: 0, misses: 0 };
  const manifestFile = (digest: Digest) => join(manifests, `${hexOf(digest)}.json`);

  return {
    counts,

    async manifest(digest, fetch) {
      const kept = await readFile(manifestFile(digest), 'utf8').catch(ifMissing(null));
      if (kept !== null && digestOf(kept) === digest) {
        counts.hits++;
        return parseManifest(kept);
      }
      counts.misses++;
      const text = await fetch();
      const actual = digestOf(text);
      if (actual !== digest) throw new LoadFailure('digest-mismatch', `the manifest is ${actual}, not ${digest}`);
      const manifest = parseManifest(text);
      await write(manifestFile(digest), text);
      return manifest;
    },

    blob: (artifact, fetch) => ensureBlob(store, artifact, fetch),

    async folder(digest, { artifacts }) {
      // The folder may have been deleted since the start, and created again by another user.
      await checkPrivateFolder(folder, FOLDERS);
      const path = join(versions, hexOf(digest));
      await ensureFolder(store, path, artifacts);
      return path;
    },

    async lastGood() {
      return parsedOrNull(LastGood, await readFile(lastGoodFile, 'utf8').catch(ifMissing('')));
    },
    saveLastGood: (lastGood) => write(lastGoodFile, JSON.stringify(lastGood)),

    async touch(digest) {
      const now = new Date();
      await utimes(manifestFile(digest), now, now);
    },

    async sweep(inUse) {
      const kept = await sweepVersions(inUse);
      for await (const { digest, stored_at } of store.list()) {
        // A young blob may belong to a version that another process is fetching.
        if (!kept.has(digest) && stored_at < Date.now() - HOUR_MS) await store.delete(digest);
      }
      for (const name of await readdir(versions)) {
        const path = join(versions, name);
        const abandoned = name.startsWith(UNFINISHED) && (await ageOf(path)) > ABANDONED_MS;
        if (abandoned) await rm(path, { recursive: true, force: true });
      }
    },
  };

  /** Returns the digests of the blobs that the remaining versions need. */
  async function sweepVersions(inUse: readonly Digest[]): Promise<Set<string>> {
    const kept = new Set<string>();
    let bytes = 0;
    for (const { digest, manifest } of await newestFirst()) {
      const added = manifest.artifacts.filter((artifact) => !kept.has(artifact.digest));
      const size = added.reduce((sum, artifact) => sum + artifact.size, 0);
      if (bytes + size <= limit || inUse.includes(digest)) {
        bytes += size;
        for (const artifact of added) kept.add(artifact.digest);
        continue;
      }
      await rm(join(versions, hexOf(digest)), { recursive: true, force: true });
      await rm(manifestFile(digest), { force: true });
    }
    return kept;
  }

  async function newestFirst(): Promise<{ digest: Digest; manifest: Manifest; age: number }[]> {
    const found = [];
    for (const name of await readdir(manifests)) {
      const text = await readFile(join(manifests, name), 'utf8').catch(ifMissing(null));
      const digest: Digest = `sha256:${name.slice(0, 64)}`;
      // A damaged manifest needs no blobs.
      if (text === null || digestOf(text) !== digest) continue;
      found.push({ digest, manifest: parseManifest(text), age: await ageOf(join(manifests, name)) });
    }
    return found.sort((a, b) => a.age - b.age);
  }
}

/** Accepts unknown fields: the registry may be newer than this loader. */
const Loadable = Manifest.loose();

function parseManifest(text: string): Manifest {
  const parsed = Loadable.safeParse(jsonOf(text));
  if (parsed.success) return parsed.data;
  throw new LoadFailure('digest-mismatch', `the manifest is not valid: ${z.prettifyError(parsed.error)}`, parsed.error);
}

function hexOf(digest: Digest): string {
  return digest.slice('sha256:'.length);
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

async function write(path: string, text: string): Promise<void> {
  await replaceFile(path, text, 0o644).catch((error: unknown) => {
    throw asCacheFull(error, path);
  });
}

async function ageOf(path: string): Promise<number> {
  const found = await stat(path).catch(ifMissing(null));
  return found ? Date.now() - found.mtimeMs : 0;
}
