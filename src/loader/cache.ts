import { mkdtemp, open, readdir, readFile, rename, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { openVolumeStore, type VolumeStore } from '../artifacts/stores/volume.ts';
import { verified } from '../artifacts/verify.ts';
import type { Digest } from '../domain/digest.ts';
import { Problem } from '../domain/errors.ts';
import { Target } from '../domain/fleet.ts';
import { type Artifact, digestOf, Manifest } from '../domain/manifest.ts';
import { ifMissing, isErrno } from '../files/errno.ts';
import { placeBlob } from '../files/place.ts';
import { replaceFile } from '../files/replace.ts';
import { LoadFailure } from './failure.ts';
import { checkPrivateFolder, openPrivateFolder } from './private-folder.ts';

/** What was served last, and where in the log that was said. */
export const LastGood = z.object({
  generation: z.int(),
  epoch: z.string().nullable(),
  revision: z.int(),
  id: z.string(),
  target: Target,
});
export type LastGood = z.infer<typeof LastGood>;

/** Files by content under one folder, which processes may share: everything appears in it by rename. */
export interface Cache {
  /** Of manifests. */
  counts: { hits: number; misses: number };
  /** The manifest of that digest; `fetch` gives its text if it is not there. @throws {LoadFailure} digest-mismatch */
  manifest(digest: Digest, fetch: () => Promise<string>): Promise<Manifest>;
  /** Has the bytes there, and right; `fetch` gives them if they are not. @throws {LoadFailure} digest-mismatch */
  blob(artifact: Artifact, fetch: () => AsyncIterable<Uint8Array>): Promise<void>;
  /** A folder with a version's files, whose blobs are there. */
  folder(digest: Digest, manifest: Manifest): Promise<string>;
  lastGood(): Promise<LastGood | null>;
  keepLastGood(lastGood: LastGood): Promise<void>;
  /** Says that a version is in use, so that it does not go. */
  touch(digest: Digest): Promise<void>;
  /** Deletes what was not used for longest, until what is left fits; `inUse` stays. */
  sweep(inUse: readonly Digest[]): Promise<void>;
}

export interface CacheOptions {
  folder: string;
  model: string;
  environment: string;
  /** How many bytes may stay. */
  limit: number;
  /** Kept free on the disk. */
  reserve?: number;
}

/** What is here is executed, so nobody else may write to it. */
const FOLDERS = ['blobs', 'blobs/sha256', 'manifests', 'versions', 'last-good'];
const PIECE_BYTES = 128 * 1024;
const HOUR_MS = 3600_000;
/** Older unfinished files are nobody's any more. */
const ABANDONED_MS = 24 * HOUR_MS;

/** @throws {UnsafeCacheFolder} where another user could change what is in it */
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
      // Somebody may have deleted the folder since, and somebody else have made another.
      await checkPrivateFolder(folder, FOLDERS);
      const made = join(versions, hexOf(digest));
      const isWhole = async () => {
        const placed = artifacts.map((artifact) => isPlaced(join(made, artifact.path), artifact, store));
        return (await Promise.all(placed)).every(Boolean);
      };
      if (await isWhole()) return made;
      try {
        const fresh = await mkdtemp(join(versions, '.new-'));
        try {
          for (const { path, digest } of artifacts) {
            await placeBlob(store.pathOf(digest), join(fresh, path), new Date(0));
          }
          // Another process may have made it meanwhile, and have opened it.
          if (!(await moveFolder(fresh, made)) && !(await isWhole())) await replaceFolder(fresh, made);
        } finally {
          await rm(fresh, { recursive: true, force: true });
        }
      } catch (error) {
        throw asFull(error, made);
      }
      return made;
    },

    async lastGood() {
      const parsed = LastGood.safeParse(jsonOf(await readFile(lastGoodFile, 'utf8').catch(ifMissing(null))));
      return parsed.success ? parsed.data : null;
    },
    keepLastGood: (lastGood) => write(lastGoodFile, JSON.stringify(lastGood)),

    async touch(digest) {
      const now = new Date();
      await utimes(manifestFile(digest), now, now);
    },

    sweep: (inUse) => sweep(inUse),
  };

  async function sweep(inUse: readonly Digest[]): Promise<void> {
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
    for await (const { digest, stored_at } of store.list()) {
      // A young one may be of a version that another process is fetching.
      if (!kept.has(digest) && stored_at < Date.now() - HOUR_MS) await store.delete(digest);
    }
    for (const name of await readdir(versions)) {
      const path = join(versions, name);
      if (name.startsWith('.new-') && (await ageOf(path)) > ABANDONED_MS)
        await rm(path, { recursive: true, force: true });
    }
  }

  async function newestFirst(): Promise<{ digest: Digest; manifest: Manifest; used: number }[]> {
    const found = [];
    for (const name of await readdir(manifests)) {
      const text = await readFile(join(manifests, name), 'utf8').catch(ifMissing(null));
      const digest: Digest = `sha256:${name.slice(0, 64)}`;
      // What is damaged refers to nothing.
      if (text === null || digestOf(text) !== digest) continue;
      found.push({ digest, manifest: parseManifest(text), used: -(await ageOf(join(manifests, name))) });
    }
    return found.sort((a, b) => b.used - a.used);
  }
}

/** A blob that is there is verified, too: what lies on a disk for months may be damaged. */
async function ensureBlob(
  store: VolumeStore,
  { digest, size, path }: Artifact,
  fetch: () => AsyncIterable<Uint8Array>,
): Promise<void> {
  const there = await stateOf(store.pathOf(digest), digest, size);
  if (there === 'whole') return;
  // It would be taken for the bytes. One that was missing is left alone: another process may have put it there by now.
  if (there === 'damaged') await store.delete(digest);
  try {
    await store.put(digest, fetch(), size);
  } catch (error) {
    if (isMismatch(error)) throw new LoadFailure('digest-mismatch', `${path}: ${error.message}`, error);
    if (error instanceof Problem && error.code === 'volume-full') {
      throw new LoadFailure('cache-full', `no room for ${path} (${size} bytes)`, error);
    }
    throw error;
  }
}

function isMismatch(error: unknown): error is Problem {
  return error instanceof Problem && error.code === 'checksum-mismatch';
}

/** Whether a file is the blob itself, or a copy of it that nobody wrote to. */
async function isPlaced(path: string, { digest, size }: Artifact, store: VolumeStore): Promise<boolean> {
  const [file, blob] = await Promise.all([statOrNull(path), statOrNull(store.pathOf(digest))]);
  if (file === null || blob === null) return false;
  return (file.ino === blob.ino && file.dev === blob.dev) || (await stateOf(path, digest, size)) === 'whole';
}

async function stateOf(path: string, digest: Digest, size: number): Promise<'whole' | 'damaged' | 'missing'> {
  try {
    for await (const _ of verified(readPieces(path), digest, size));
    return 'whole';
  } catch (error) {
    if (isMismatch(error)) return 'damaged';
    if (isErrno(error, 'ENOENT')) return 'missing';
    throw error;
  }
}

/** Into the same memory again and again: hashing a file makes no garbage, and holds no request up for long. */
async function* readPieces(path: string): AsyncGenerator<Uint8Array> {
  const file = await open(path);
  try {
    const buffer = Buffer.allocUnsafeSlow(PIECE_BYTES);
    for (;;) {
      const { bytesRead } = await file.read(buffer, 0, PIECE_BYTES);
      if (bytesRead === 0) return;
      yield buffer.subarray(0, bytesRead);
    }
  } finally {
    await file.close();
  }
}

/** What a version must say to be loaded; a newer registry may say more. */
const Loadable = Manifest.loose();

function parseManifest(text: string): Manifest {
  const parsed = Loadable.safeParse(jsonOf(text));
  if (parsed.success) return parsed.data;
  throw new LoadFailure('digest-mismatch', `the manifest is none: ${z.prettifyError(parsed.error)}`, parsed.error);
}

function hexOf(digest: Digest): string {
  return digest.slice('sha256:'.length);
}

function jsonOf(text: string | null): unknown {
  try {
    return text === null ? null : JSON.parse(text);
  } catch {
    return null;
  }
}

async function write(path: string, text: string): Promise<void> {
  await replaceFile(path, text, 0o644).catch((error: unknown) => {
    throw asFull(error, path);
  });
}

function asFull(error: unknown, path: string): unknown {
  return isErrno(error, 'ENOSPC', 'EDQUOT') ? new LoadFailure('cache-full', `no room for ${path}`, error) : error;
}

/** A folder cannot be renamed over one that is not empty: the old one goes first, and whoever comes first wins. */
async function replaceFolder(fresh: string, path: string): Promise<void> {
  const old = `${fresh}-old`;
  try {
    await rename(path, old).catch(ifMissing(undefined));
    await moveFolder(fresh, path);
  } finally {
    await rm(old, { recursive: true, force: true });
  }
}

/** False where there is a folder already. */
async function moveFolder(from: string, to: string): Promise<boolean> {
  try {
    await rename(from, to);
    return true;
  } catch (error) {
    if (isErrno(error, 'ENOTEMPTY', 'EEXIST')) return false;
    throw error;
  }
}

async function statOrNull(path: string) {
  return stat(path).catch(ifMissing(null));
}

async function ageOf(path: string): Promise<number> {
  const found = await statOrNull(path);
  return found ? Date.now() - found.mtimeMs : 0;
}
