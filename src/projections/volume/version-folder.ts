import { createReadStream, type Stats } from 'node:fs';
import { lstat, mkdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { slowly } from '../../artifacts/scrub.ts';
import type { VolumeStore } from '../../artifacts/stores/volume.ts';
import { verified } from '../../artifacts/verify.ts';
import type { Digest } from '../../domain/digest.ts';
import { Problem } from '../../domain/errors.ts';
import type { Artifact } from '../../domain/manifest.ts';
import type { VersionState } from '../../domain/model.ts';
import { ifMissing, isErrno } from '../../files/errno.ts';
import { listFiles } from '../../files/folder.ts';
import { placeBlob } from '../../files/place.ts';

/**
 * Makes a version's folder contain its artifacts as plain files. A new folder appears complete or not at all. In an existing
 * folder, missing files are added; files that differ or do not belong to the version are left unchanged, and returned as
 * problems. Files whose bytes the store lacks are skipped.
 *
 * @param thorough until it is aborted, also read copies that look unchanged; those that are damaged are replaced
 */
export async function writeVersion(
  folder: string,
  version: VersionState,
  store: VolumeStore,
  lacking: ReadonlySet<Digest>,
  thorough: AbortSignal | null = null,
): Promise<string[]> {
  const found = await lstat(folder).catch(ifMissing(null));
  if (found === null) {
    if (lacking.size === 0) await layVersion(folder, version, store);
    return [];
  }
  if (!found.isDirectory()) return [`${folder} must be a folder, not a link or a file`];
  return completeVersion(folder, version, store, lacking, thorough);
}

async function layVersion(folder: string, version: VersionState, store: VolumeStore): Promise<void> {
  const date = new Date(version.published_at);
  const unfinished = join(dirname(folder), `.${version.version}.new`);
  await makeEmpty(unfinished);
  for (const { digest, path } of version.manifest.artifacts) {
    await placeBlob(store.pathOf(digest), join(unfinished, path), date);
  }
  await rename(unfinished, folder);
}

/** Removes a version's folder if nobody else put anything into it. It disappears by rename. Returns whether it did. */
export async function removeVersion(folder: string, version: VersionState, store: VolumeStore): Promise<boolean> {
  const artifacts = new Map(version.manifest.artifacts.map((artifact) => [artifact.path, artifact]));
  const date = new Date(version.published_at).getTime();
  for (const { path, stat: file } of await listFiles(folder)) {
    const artifact = artifacts.get(path);
    const blob = artifact && (await stat(store.pathOf(artifact.digest)).catch(ifMissing(null)));
    const isOurs = blob?.ino === file.ino || (artifact?.size === file.size && file.mtimeMs === date);
    if (!artifact || !isOurs) return false;
  }
  const old = join(dirname(folder), `.${version.version}.old`);
  await rm(old, { recursive: true, force: true });
  await rename(folder, old);
  await rm(old, { recursive: true });
  return true;
}

async function completeVersion(
  folder: string,
  { manifest, published_at }: VersionState,
  store: VolumeStore,
  lacking: ReadonlySet<Digest>,
  thorough: AbortSignal | null,
): Promise<string[]> {
  const date = new Date(published_at);
  // It throws at a link: files elsewhere would be replaced through it.
  const files = new Map((await listFiles(folder)).map(({ path, stat }) => [path, stat]));
  const problems: string[] = [];
  for (const artifact of manifest.artifacts) {
    const path = join(folder, artifact.path);
    const listed = files.get(artifact.path);
    files.delete(artifact.path);
    if (lacking.has(artifact.digest)) continue;
    const file = listed ?? (await stat(path).catch(ifMissing(null))); // hidden files are not listed
    const state = file ? await compare(path, file, artifact, store, date, thorough) : 'missing';
    if (state === 'other') problems.push(`${path} is not what was published`);
    if (state === 'missing' || state === 'damaged' || state === 'equal') await replace(path, artifact, store, date);
  }
  const extra = [...files.keys()].map((path) => `${join(folder, path)} is not part of the published version`);
  return [...problems, ...extra];
}

/** Makes a folder; one that a crash left is emptied. */
async function makeEmpty(folder: string): Promise<void> {
  try {
    await mkdir(folder);
  } catch (error) {
    if (!isErrno(error, 'ENOENT', 'EEXIST')) throw error;
    await rm(folder, { recursive: true, force: true });
    await mkdir(folder, { recursive: true });
  }
}

type State = 'written' | 'damaged' | 'equal' | 'other';

/**
 * `written` is our own link or copy; `damaged` is our own copy with other bytes than it had; `equal` has the same bytes, but
 * is a separate file that can be written to.
 */
async function compare(
  path: string,
  file: Stats,
  artifact: Artifact,
  store: VolumeStore,
  date: Date,
  thorough: AbortSignal | null,
): Promise<State> {
  const blob = await stat(store.pathOf(artifact.digest)).catch(ifMissing(null));
  if (blob && file.ino === blob.ino && file.dev === blob.dev) return 'written';
  if (file.size !== artifact.size) return 'other';
  const isOurs = file.mtimeMs === date.getTime();
  if (isOurs && !thorough) return 'written'; // our copy, unchanged since
  const bytes = createReadStream(path);
  try {
    for await (const _ of verified(thorough ? slowly(bytes, thorough) : bytes, artifact.digest, artifact.size));
    return blob && !isOurs ? 'equal' : 'written';
  } catch (error) {
    if (thorough?.aborted) return 'written'; // nothing is known about it
    if (error instanceof Problem && error.code === 'checksum-mismatch') return isOurs && blob ? 'damaged' : 'other';
    throw error;
  }
}

async function replace(path: string, artifact: Artifact, store: VolumeStore, date: Date): Promise<void> {
  const fresh = join(dirname(path), `.${artifact.digest.slice(-16)}.new`);
  await rm(fresh, { force: true });
  await placeBlob(store.pathOf(artifact.digest), fresh, date);
  await rename(fresh, path);
}
