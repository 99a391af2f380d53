import { isUtf8 } from 'node:buffer';
import type { Dirent } from 'node:fs';
import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { isArtifactPath, MAX_ARTIFACTS, MAX_PATH_LENGTH } from '../domain/manifest.ts';

export interface FolderFile {
  /** Relative, with `/` between names, as manifests have it. */
  path: string;
  size: number;
  /** When its content or its entry last changed, in milliseconds since 1970; a copy cannot preset it. */
  changed_at: number;
}

export interface FolderEntry {
  name: string;
  /** Whether its bytes are text; if not, no path made of `name` leads to it. */
  utf8: boolean;
  entry: Dirent<Buffer>;
}

/** What lies in a folder, save what hides behind a dot. @throws {Error} as reading it */
export async function entriesOf(folder: string): Promise<FolderEntry[]> {
  // As bytes: Node replaces those that are not UTF-8, and the name that it makes is of no file.
  const entries = await readdir(folder, { withFileTypes: true, encoding: 'buffer' });
  return entries
    .map((entry) => ({ name: entry.name.toString('utf8'), utf8: isUtf8(entry.name), entry }))
    .filter(({ name }) => !name.startsWith('.'));
}

/**
 * The files of a version's folder, in the order of their paths. What hides behind a dot or belongs to Python's cache is
 * no part of a version.
 *
 * @throws {Error} for anything that is neither file nor folder: what a link points at may change under the version; and
 * for a name that is not UTF-8
 */
export async function listFiles(folder: string): Promise<FolderFile[]> {
  const files: FolderFile[] = [];
  for await (const file of filesIn(folder)) files.push(file);
  return inOrder(files);
}

/**
 * The same of a folder that is to become a version, looked at before a byte of it is read.
 *
 * @throws {Error} also for a virtual environment, for a path that no manifest can have, and for too many files
 */
export async function filesToPublish(folder: string): Promise<FolderFile[]> {
  const files: FolderFile[] = [];
  for await (const file of filesIn(folder, '', refuseVirtualEnvironment)) {
    checkPath(folder, file.path);
    files.push(file);
    if (files.length > MAX_ARTIFACTS) throw tooMany(folder);
  }
  return inOrder(files);
}

function inOrder(files: FolderFile[]): FolderFile[] {
  return files.sort((a, b) => (a.path < b.path ? -1 : 1));
}

type Look = (path: string, entries: FolderEntry[]) => void;

async function* filesIn(folder: string, below = '', look?: Look): AsyncGenerator<FolderFile> {
  const entries = await entriesOf(join(folder, below));
  look?.(join(folder, below), entries);
  for (const { name, utf8, entry } of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    if (name === '__pycache__') continue;
    const path = below === '' ? name : `${below}/${name}`;
    if (!utf8) throw new Error(`the name of ${join(folder, path)} is not UTF-8; rename it`);
    if (entry.isDirectory()) yield* filesIn(folder, path, look);
    else if (entry.isFile()) {
      const { size, ctimeMs } = await lstat(join(folder, path));
      yield { path, size, changed_at: ctimeMs };
    } else throw new Error(`${join(folder, path)} ${whatItIs(entry)}`);
  }
}

function whatItIs(entry: Dirent<Buffer>): string {
  return entry.isSymbolicLink() ? 'is a link: put what it points to in its place' : 'is neither a file nor a folder';
}

/** PEP 405: every virtual environment has this file, whatever its folder is called. */
function refuseVirtualEnvironment(path: string, entries: FolderEntry[]): void {
  if (!entries.some(({ name }) => name === 'pyvenv.cfg')) return;
  throw new Error(`${path} is a Python virtual environment (it has a pyvenv.cfg): move it out of the folder`);
}

function checkPath(folder: string, path: string): void {
  if (path.length <= MAX_PATH_LENGTH && isArtifactPath(path)) return;
  throw new Error(
    `${join(folder, path)} cannot be published under its name: use names of at most 255 bytes without control ` +
      `characters and \\ : * ? " < > |, and paths of at most ${MAX_PATH_LENGTH} characters`,
  );
}

function tooMany(folder: string): Error {
  const most = MAX_ARTIFACTS.toLocaleString('en');
  return new Error(`${folder} has more than ${most} files, the most that a version can have: pack some in an archive`);
}
