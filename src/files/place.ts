import { copyFile, link, mkdir, rename, rm, utimes } from 'node:fs/promises';
import { dirname } from 'node:path';
import { isErrno } from './errno.ts';
import { syncFile } from './sync.ts';

/** The file system has no hard links, or the file has the maximum number of them. */
const NO_LINK = ['EXDEV', 'EPERM', 'EMLINK', 'ENOTSUP', 'ENOSYS'];

/**
 * Places a blob at `path` as a hard link, or as a read-only copy with this `date` if it cannot be linked. A copy is synced: a
 * folder that is renamed into place must not appear with empty files after a power failure.
 */
export async function placeBlob(blob: string, path: string, date: Date): Promise<void> {
  try {
    await linkInto(blob, path);
  } catch (error) {
    if (!isErrno(error, ...NO_LINK)) throw error;
    await copyFile(blob, path);
    await utimes(path, date, date);
    await syncFile(path);
  }
}

/** Most files are in a folder that exists already. */
async function linkInto(blob: string, path: string): Promise<void> {
  try {
    await link(blob, path);
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error;
    await mkdir(dirname(path), { recursive: true });
    await link(blob, path);
  }
}

/**
 * Moves a file, or deletes it if the target exists by now. `rename` would replace the target: link(2) fails with ENOENT for
 * a file that was replaced just now, and folders would link to a file that is no longer the blob.
 */
export async function moveUnlessExists(from: string, to: string): Promise<void> {
  try {
    await link(from, to);
  } catch (error) {
    if (isErrno(error, ...NO_LINK)) return rename(from, to);
    if (!isErrno(error, 'EEXIST')) throw error;
  }
  await rm(from);
}
