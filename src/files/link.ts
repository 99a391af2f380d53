import { lstat, mkdir, readlink, rename, rm, symlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { isErrno } from './errno.ts';

/**
 * Points a symbolic link at `target`, or takes it away. It changes by rename, so that a reader sees the old one or the
 * new one and never none.
 *
 * @throws {Error} where something that is no link stands there: it is somebody's, and left alone
 */
export async function pointLink(path: string, target: string | null): Promise<void> {
  const current = await currentTarget(path);
  if (current === target) return;
  if (target === null) {
    await rm(path);
    return;
  }
  const fresh = `${path}.new`;
  try {
    await symlink(target, fresh);
  } catch (error) {
    // The first link of its folder, or one that a crash left before its rename.
    if (!isErrno(error, 'ENOENT', 'EEXIST')) throw error;
    await mkdir(dirname(path), { recursive: true });
    await rm(fresh, { force: true });
    await symlink(target, fresh);
  }
  await rename(fresh, path);
}

async function currentTarget(path: string): Promise<string | null> {
  try {
    return await readlink(path);
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return null;
    if (isErrno(error, 'EINVAL') && !(await lstat(path)).isSymbolicLink()) {
      throw new Error(`${path} is no link; move it away for Signalbox to put one there`, { cause: error });
    }
    throw error;
  }
}
