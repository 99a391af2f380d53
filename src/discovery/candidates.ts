import type { Stats } from 'node:fs';
import { lstat } from 'node:fs/promises';
import { join } from 'node:path';
import { DEFAULT_MODEL, isModelName } from '../domain/names.ts';
import { isVersion, precedence } from '../domain/versions.ts';
import { ifMissing } from '../files/errno.ts';
import { entriesOf, type FolderEntry, pagesOf } from '../files/folder.ts';
import { versionsFolder } from '../projections/volume/layout.ts';

/** A folder that may be adopted, or an entry that cannot be; `version` is null for an entry in place of a model. */
export type Candidate =
  | { path: string; model: string; version: string; problem: null }
  | { path: string; model: string; version: string | null; problem: string };

/** Returns the models that have a folder on the volume, and what cannot be one. */
export async function modelsOn(volume: string): Promise<{ models: string[]; refused: Candidate[] }> {
  const folder = join(volume, 'models');
  const found = { models: [DEFAULT_MODEL], refused: [] as Candidate[] };
  const stat = await lstatIfAny(folder);
  if (!stat) return found;
  if (!stat.isDirectory()) return { ...found, refused: [refused(folder, '', mustBeFolder(folder))] };
  for (const { name, utf8, entry } of await entriesOf(folder).catch(ifMissing([]))) {
    const path = join(folder, name);
    if (!utf8) found.refused.push(refused(path, name, `the name of ${path} is not UTF-8; rename it`));
    else if (entry.isSymbolicLink()) found.refused.push(refused(path, name, mustBeFolder(path)));
    else if (isModelName(name)) found.models.push(name);
    else if (!(await isEmpty(join(path, 'versions')))) {
      found.refused.push(refused(path, name, `${name} is not a valid model name; rename ${path}`));
    }
  }
  return found;
}

/** The entries where versions of a model are expected. */
export interface VersionsFolder {
  path: string;
  /** When an entry was added, renamed or removed the last time, in ms since 1970. */
  changed_at: number;
  isFolder: boolean;
}

/** Returns null if the folder is missing. */
export async function versionsFolderOf(volume: string, model: string): Promise<VersionsFolder | null> {
  const path = versionsFolder(volume, model);
  const stat = await lstatIfAny(path);
  return stat && { path, changed_at: stat.mtimeMs, isFolder: stat.isDirectory() };
}

/**
 * Returns the entries that are not published folders. Links are not followed: their targets are elsewhere and may change.
 *
 * @param unpublished returns those of the names that no published version has
 */
export async function candidatesIn(
  { path: folder, isFolder }: VersionsFolder,
  model: string,
  unpublished: (names: string[]) => string[],
): Promise<Candidate[]> {
  if (!isFolder) return [refused(folder, model, mustBeFolder(folder))];
  const found: Candidate[] = [];
  for await (const entries of pagesOf(folder, PAGE)) {
    const all = entries.map((entry) => candidateOf(folder, model, entry));
    const wanted = new Set(unpublished(all.flatMap(({ problem, version }) => (problem === null ? version : []))));
    found.push(...all.filter(({ problem, version }) => problem !== null || wanted.has(version)));
  }
  return inOrder(found);
}

const PAGE = 500;

/** Lower versions are adopted first. What is refused comes before them. */
function inOrder(candidates: Candidate[]): Candidate[] {
  const keys = new Map(
    candidates.map(({ path, version, problem }) => [path, problem === null ? precedence(version) : '']),
  );
  return candidates.sort((a, b) => (keys.get(a.path)! < keys.get(b.path)! ? -1 : 1));
}

function candidateOf(folder: string, model: string, { name, utf8, entry }: FolderEntry) {
  const path = join(folder, name);
  return { path, model, version: name, problem: problemOf(path, name, utf8 && entry.isDirectory()) };
}

function problemOf(path: string, name: string, isFolder: boolean): string | null {
  if (!isVersion(name)) return `the name of ${path} is not a canonical semantic version; rename it`;
  return isFolder ? null : mustBeFolder(path);
}

function mustBeFolder(path: string): string {
  return `${path} must be a folder, not a link or a file`;
}

async function isEmpty(folder: string): Promise<boolean> {
  const stat = await lstatIfAny(folder);
  if (!stat) return true;
  return stat.isDirectory() && (await entriesOf(folder).catch(ifMissing([]))).length === 0;
}

async function lstatIfAny(path: string): Promise<Stats | null> {
  return lstat(path).catch(ifMissing(null));
}

function refused(path: string, model: string, problem: string): Candidate {
  return { path, model, version: null, problem };
}
