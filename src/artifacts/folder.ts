import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';

export interface FolderFile {
  /** Relative, with `/` between names, as manifests have it. */
  path: string;
  size: number;
  /** When its content or its entry last changed, in milliseconds since 1970; a copy cannot preset it. */
  changed_at: number;
}

/**
 * The files of a version's folder, in the order of their paths. What hides behind a dot or belongs to Python's cache is
 * no part of a version.
 *
 * @throws {Error} for anything that is neither file nor folder: what a link points at may change under the version
 */
export async function listFiles(folder: string, prefix = ''): Promise<FolderFile[]> {
  const files: FolderFile[] = [];
  for (const entry of await readdir(join(folder, prefix), { withFileTypes: true })) {
    if (entry.name.startsWith('.') || entry.name === '__pycache__') continue;
    const path = prefix + entry.name;
    if (entry.isDirectory()) files.push(...(await listFiles(folder, `${path}/`)));
    else if (entry.isFile()) {
      const { size, ctimeMs } = await stat(join(folder, path));
      files.push({ path, size, changed_at: ctimeMs });
    } else throw new Error(`${join(folder, path)} is neither a file nor a folder`);
  }
  return files.sort((a, b) => (a.path < b.path ? -1 : 1));
}
