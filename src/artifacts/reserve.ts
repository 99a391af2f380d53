import { statfs } from 'node:fs/promises';
import { Problem } from '../domain/errors.ts';
import { isErrno } from '../files/errno.ts';

/** Uploads leave this much of the disk free: the log and the operator's tools must still be able to write. */
export const DISK_RESERVE_BYTES = 256 * 1024 * 1024;

const CHECK_EVERY_BYTES = 64 * 1024 * 1024;

/** Checks that the disk of a folder has space for `size` bytes above the reserve. @throws {Problem} volume-full */
export async function checkReserve(folder: string, reserve: number, size: number): Promise<void> {
  const { bavail, bsize } = await statfs(folder);
  if (bavail * bsize - size < reserve) throw full();
}

/** Yields the bytes unchanged, and calls `check` again and again while they arrive. */
export async function* checkedOften(bytes: AsyncIterable<Uint8Array>, check: () => Promise<void>) {
  let unchecked = 0;
  for await (const chunk of bytes) {
    unchecked += chunk.length;
    if (unchecked >= CHECK_EVERY_BYTES) {
      await check();
      unchecked = 0;
    }
    yield chunk;
  }
}

/** Returns volume-full for an error of a full disk, and other errors unchanged. */
export function asVolumeFull(error: unknown): unknown {
  return isErrno(error, 'ENOSPC', 'EDQUOT') ? full(error) : error;
}

function full(cause?: unknown): Problem {
  return new Problem('volume-full', 'The volume has no space for these bytes. Nothing was stored.', {}, cause);
}
