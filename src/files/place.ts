import { copyFile, link, mkdir, utimes } from 'node:fs/promises';
import { dirname } from 'node:path';
import { isErrno } from './errno.ts';

/**
 * Places a blob at `path` as a hard link, or as a read-only copy with this `date` if the file system has no hard links or
 * the blob has the maximum number of them.
 */
export async function placeBlob(blob: string, path: string, date: Date): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  try {
    await link(blob, path);
  } catch (error) {
    if (!isErrno(error, 'EXDEV', 'EPERM', 'EMLINK', 'ENOTSUP', 'ENOSYS')) throw error;
    await copyFile(blob, path);
    await utimes(path, date, date);
  }
}
