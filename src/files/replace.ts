import { randomUUID } from 'node:crypto';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { syncFolder } from './sync.ts';

const PRIVATE = 0o600;

/**
 * Replaces a file's content atomically and durably: a reader sees the old content or the new content, also after a crash.
 *
 * @param mode permissions of the file; default: its owner only
 */
export function replaceFile(path: string, content: string, mode = PRIVATE): Promise<void> {
  return replaceFileWith(path, mode, (file) => file.writeFile(content));
}

/** The same for content that `fill` writes. If `fill` throws, the old content stays. */
export async function replaceFileWith<T>(
  path: string,
  mode: number,
  fill: (file: FileHandle) => Promise<T>,
): Promise<T> {
  // A name of its own: other processes, and other calls of this one, may replace the same file.
  const fresh = `${path}.${randomUUID()}.new`;
  const file = await open(fresh, 'wx', mode);
  try {
    const result = await fill(file).finally(() => file.sync().finally(() => file.close()));
    await rename(fresh, path);
    await syncFolder(dirname(path));
    return result;
  } catch (error) {
    await rm(fresh, { force: true });
    throw error;
  }
}
