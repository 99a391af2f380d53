import { isUtf8 } from 'node:buffer';
import type { Dirent } from 'node:fs';
import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';

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
export async function listFiles(folder: string, prefix = ''): Promise<FolderFile[]> {
  const files: FolderFile[] = [];
  for (const { name, utf8, entry } of await entriesOf(join(folder, prefix))) {
    if (name === '__pycache__') continue;
    const path = prefix + name;
    if (!utf8) throw new Error(`the name of ${join(folder, path)} is not UTF-8; rename it`);
    if (entry.isDirectory()) files.push(...(await listFiles(folder, `${path}/`)));
    else if (entry.isFile()) {
      const { size, ctimeMs } = await lstat(join(folder, path));
      files.push({ path, size, changed_at: ctimeMs });
    } else throw new Error(`${join(folder, path)} is neither a file nor a folder`);
  }
  return files.sort((a, b) => (a.path < b.path ? -1 : 1));
}
