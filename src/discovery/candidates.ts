import { lstat } from 'node:fs/promises';
import { join } from 'node:path';
import { DEFAULT_MODEL, isModelName } from '../domain/names.ts';
import { isVersion } from '../domain/versions.ts';
import { ifMissing } from '../files/errno.ts';
import { entriesOf, type FolderEntry } from '../files/folder.ts';
import { versionsFolder } from '../projections/volume/layout.ts';

/** A folder that may be adopted, or an entry that cannot be; `version` is null for an entry in place of a model. */
export type Candidate =
  | { path: string; model: string; version: string; problem: null }
  | { path: string; model: string; version: string | null; problem: string };

/** Returns every entry where versions are expected. Links are not followed: their targets are elsewhere and may change. */
export async function candidatesOn(volume: string): Promise<Candidate[]> {
  const models = join(volume, 'models');
  const found = [...(await versionsOf(volume, DEFAULT_MODEL))];
  const entries = await entriesIfFolder(models);
  if (!entries) return [...found, refused(models, '', `${models} must be a folder, not a link or a file`)];
  for (const entry of entries) found.push(...(await ofModel(volume, join(models, entry.name), entry)));
  return found;
}

async function ofModel(volume: string, path: string, { name, utf8, entry }: FolderEntry): Promise<Candidate[]> {
  if (!utf8) return [refused(path, name, `the name of ${path} is not UTF-8; rename it`)];
  if (entry.isSymbolicLink()) return [refused(path, name, `${path} must be a folder, not a link or a file`)];
  if (isModelName(name)) return versionsOf(volume, name);
  const versions = await entriesIfFolder(join(path, 'versions'));
  return versions?.length === 0 ? [] : [refused(path, name, `${name} is not a valid model name; rename ${path}`)];
}

async function versionsOf(volume: string, model: string): Promise<Candidate[]> {
  const folder = versionsFolder(volume, model);
  const entries = await entriesIfFolder(folder);
  if (!entries) return [refused(folder, model, `${folder} must be a folder, not a link or a file`)];
  return entries.map(({ name, utf8, entry }) => {
    const path = join(folder, name);
    return { path, model, version: name, problem: problemOf(path, name, utf8 && entry.isDirectory()) };
  });
}

function problemOf(path: string, name: string, isFolder: boolean): string | null {
  if (!isVersion(name)) return `the name of ${path} is not a canonical semantic version; rename it`;
  return isFolder ? null : `${path} must be a folder, not a link or a file`;
}

/** Returns nothing if the folder is missing, null if it is not a folder. */
async function entriesIfFolder(folder: string): Promise<FolderEntry[] | null> {
  const found = await lstat(folder).catch(ifMissing(undefined));
  if (found === undefined) return [];
  return found.isDirectory() ? entriesOf(folder).catch(ifMissing([])) : null;
}

function refused(path: string, model: string, problem: string): Candidate {
  return { path, model, version: null, problem };
}
