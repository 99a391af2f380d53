import { copyFile, link, mkdir, utimes } from 'node:fs/promises';
import { dirname } from 'node:path';
import { isErrno } from './errno.ts';

/**
 * Puts a blob's bytes at `path`: a hard link, or a read-only copy of that `date` where the file system has no links, or no
 * more of them.
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
