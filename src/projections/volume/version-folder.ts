import { createReadStream } from 'node:fs';
import { lstat, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { VolumeStore } from '../../artifacts/stores/volume.ts';
import { verified } from '../../artifacts/verify.ts';
import type { Digest } from '../../domain/digest.ts';
import { Problem } from '../../domain/errors.ts';
import type { Artifact } from '../../domain/manifest.ts';
import type { VersionState } from '../../domain/model.ts';
import { ifMissing } from '../../files/errno.ts';
import { listFiles } from '../../files/folder.ts';
import { placeBlob } from '../../files/place.ts';

/**
 * Makes a version's folder contain its artifacts as plain files. A new folder appears complete or not at all. In an existing
 * folder, missing files are added; files that differ or do not belong to the version are left unchanged, and returned as
 * problems. Files whose bytes the store lacks are skipped.
 */
export async function writeVersion(
  folder: string,
  version: VersionState,
  store: VolumeStore,
  lacking: ReadonlySet<Digest>,
): Promise<string[]> {
  const { artifacts } = version.manifest;
  const date = new Date(version.published_at);
  if ((await statOrNull(folder)) === null) {
    if (lacking.size > 0) return [];
    const unfinished = join(dirname(folder), `.${version.version}.new`);
    await rm(unfinished, { recursive: true, force: true });
    for (const artifact of artifacts)
      await placeBlob(store.pathOf(artifact.digest), join(unfinished, artifact.path), date);
    await rename(unfinished, folder);
    return [];
  }
  if (!(await lstat(folder)).isDirectory()) return [`${folder} must be a folder, not a link or a file`];
  const files = await listFiles(folder); // throws at a link: files elsewhere would be replaced through it
  const problems: string[] = [];
  for (const artifact of artifacts) {
    if (lacking.has(artifact.digest)) continue;
    const path = join(folder, artifact.path);
    const state = await compare(path, artifact, store, date);
    if (state === 'other') problems.push(`${path} is not what was published`);
    if (state === 'missing' || state === 'equal') await replace(path, artifact, store, date);
  }
  const listed = new Set(artifacts.map(({ path }) => path));
  const extra = files.filter(({ path }) => !listed.has(path));
  return [...problems, ...extra.map(({ path }) => `${join(folder, path)} is not part of the published version`)];
}

type State = 'written' | 'missing' | 'equal' | 'other';

/** `written` is our own link or copy; `equal` has the same bytes, but is a separate file that can be written to. */
async function compare(path: string, artifact: Artifact, store: VolumeStore, date: Date): Promise<State> {
  const [file, blob] = await Promise.all([statOrNull(path), statOrNull(store.pathOf(artifact.digest))]);
  if (!file) return 'missing';
  if (blob && file.ino === blob.ino && file.dev === blob.dev) return 'written';
  if (file.size !== artifact.size) return 'other';
  if (file.mtimeMs === date.getTime()) return 'written'; // our copy, unchanged since
  try {
    for await (const _ of verified(createReadStream(path), artifact.digest, artifact.size));
    return blob ? 'equal' : 'written';
  } catch (error) {
    if (error instanceof Problem && error.code === 'checksum-mismatch') return 'other';
    throw error;
  }
}

async function replace(path: string, artifact: Artifact, store: VolumeStore, date: Date): Promise<void> {
  const fresh = join(dirname(path), `.${artifact.digest.slice(-16)}.new`);
  await rm(fresh, { force: true });
  await placeBlob(store.pathOf(artifact.digest), fresh, date);
  await rename(fresh, path);
}

async function statOrNull(path: string) {
  return stat(path).catch(ifMissing(null));
}
