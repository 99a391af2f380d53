import { isUtf8 } from 'node:buffer';
import type { Dirent, Stats } from 'node:fs';
import { lstat, opendir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { isArtifactPath, MAX_ARTIFACTS, MAX_PATH_LENGTH } from '../domain/manifest.ts';

export interface FolderFile {
  /** Relative, with `/` between names, as in manifests. */
  path: string;
  size: number;
  /** The ctime in ms since 1970. Unlike the mtime, a copy cannot set it. */
  changed_at: number;
  stat: Stats;
}

export interface FolderEntry {
  name: string;
  /** Whether the name is UTF-8. If not, `name` is not the file's real name and cannot open it. */
  utf8: boolean;
  entry: Dirent<Buffer>;
}

/** Lists a folder without hidden entries (`.…`). @throws {Error} if it cannot be read */
export async function entriesOf(folder: string): Promise<FolderEntry[]> {
  // As bytes: Node replaces bytes that are not UTF-8, and no file has the resulting name.
  const entries = await readdir(folder, { withFileTypes: true, encoding: 'buffer' });
  return entries
    .map((entry) => ({ name: entry.name.toString('utf8'), utf8: isUtf8(entry.name), entry }))
    .filter(({ name }) => !name.startsWith('.'));
}

/** Yields the entries of a folder that may be large, a page at a time, as `entriesOf` lists them. */
export async function* pagesOf(folder: string, page: number): AsyncGenerator<FolderEntry[]> {
  // The types of Node do not know that `opendir`, too, can return names as bytes.
  const encoding = 'buffer' as BufferEncoding;
  let entries: FolderEntry[] = [];
  for await (const found of await opendir(folder, { encoding, bufferSize: page })) {
    const entry = found as unknown as Dirent<Buffer>;
    const named = { name: entry.name.toString('utf8'), utf8: isUtf8(entry.name), entry };
    if (!named.name.startsWith('.')) entries.push(named);
    if (entries.length < page) continue;
    yield entries;
    entries = [];
  }
  if (entries.length > 0) yield entries;
}

/**
 * Lists the files of a version's folder, sorted by path, without hidden files and Python's cache.
 *
 * @throws {Error} for an entry that is neither a file nor a folder, since the target of a link may change later, and for
 * a name that is not UTF-8
 */
export async function listFiles(folder: string): Promise<FolderFile[]> {
  const files: FolderFile[] = [];
  for await (const file of filesIn(folder)) files.push(file);
  return inOrder(files);
}

/**
 * Lists the files of a folder to publish, before any of them is read.
 *
 * @throws {Error} as `listFiles`, and for a virtual environment, a path that no manifest can have, and too many files
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

type Inspect = (path: string, entries: FolderEntry[]) => void;

async function* filesIn(folder: string, below = '', inspect?: Inspect): AsyncGenerator<FolderFile> {
  const entries = await entriesOf(join(folder, below));
  inspect?.(join(folder, below), entries);
  for (const { name, utf8, entry } of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    if (name === '__pycache__') continue;
    const path = below === '' ? name : `${below}/${name}`;
    if (!utf8) throw new Error(`The name of ${join(folder, path)} is not UTF-8. Rename the file.`);
    if (entry.isDirectory()) yield* filesIn(folder, path, inspect);
    else if (entry.isFile()) {
      const stat = await lstat(join(folder, path));
      yield { path, size: stat.size, changed_at: stat.ctimeMs, stat };
    } else throw new Error(`${join(folder, path)} ${refusalOf(entry)}`);
  }
}

function refusalOf(entry: Dirent<Buffer>): string {
  return entry.isSymbolicLink() ? 'is a link. Replace it with its target.' : 'is neither a file nor a folder.';
}

/** PEP 405: every virtual environment contains this file, whatever its folder is called. */
function refuseVirtualEnvironment(path: string, entries: FolderEntry[]): void {
  if (!entries.some(({ name }) => name === 'pyvenv.cfg')) return;
  throw new Error(`${path} is a Python virtual environment (it contains pyvenv.cfg). Move it out of the folder.`);
}

function checkPath(folder: string, path: string): void {
  if (path.length <= MAX_PATH_LENGTH && isArtifactPath(path)) return;
  throw new Error(
    `${join(folder, path)} cannot be published under this name. Use names of at most 255 bytes without control ` +
      `characters and \\ : * ? " < > |, and paths of at most ${MAX_PATH_LENGTH} characters.`,
  );
}

function tooMany(folder: string): Error {
  const max = MAX_ARTIFACTS.toLocaleString('en');
  return new Error(`${folder} has more than ${max} files, the maximum of a version. Pack some into an archive.`);
}
