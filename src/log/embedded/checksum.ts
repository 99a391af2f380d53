import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { ifMissing } from '../../files/errno.ts';

/** Writes the SHA-256 of a program to a file beside it, in the format of sha256sum. Returns the path of that file. */
export async function writeChecksum(path: string): Promise<string> {
  await writeFile(checksumPath(path), `${await hashOf(path)}  ${basename(path)}\n`);
  return checksumPath(path);
}

/**
 * Returns how a program differs from its checksum file; null if it does not. If the file is missing, it is written now:
 * older versions of Signalbox wrote none.
 */
export async function checksumMismatch(path: string): Promise<string | null> {
  const recorded = await readFile(checksumPath(path), 'utf8').catch(ifMissing(null));
  if (recorded === null) {
    await writeChecksum(path).catch(() => {}); // the cache may be read-only for this user
    return null;
  }
  const [expected] = recorded.split(/\s/);
  const actual = await hashOf(path);
  return actual === expected ? null : `${path} was altered: its SHA-256 is ${actual} instead of ${expected}`;
}

export function checksumPath(path: string): string {
  return `${path}.sha256`;
}

async function hashOf(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: 1024 * 1024 })) hash.update(chunk);
  return hash.digest('hex');
}
