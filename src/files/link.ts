import { lstat, mkdir, readlink, rename, rm, symlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { isErrno } from './errno.ts';

/**
 * Points a symbolic link at `target`, or removes it if `target` is null. The link changes by rename, so a reader sees the
 * old or the new target, never a missing link.
 *
 * @throws {Error} if `path` is not a link: another program may own it, so it stays
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
    // The folder is missing, or a crash left a link before its rename.
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
      throw new Error(`${path} is not a link. Move it away: Signalbox needs a link there.`, { cause: error });
    }
    throw error;
  }
}
