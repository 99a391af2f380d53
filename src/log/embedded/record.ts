import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { ifMissing } from '../../files/errno.ts';

/** Writes the hash of a program beside it, in the format of sha256sum; returns the path. */
export async function recordHash(path: string): Promise<string> {
  await writeFile(recordOf(path), `${await hashOf(path)}  ${basename(path)}\n`);
  return recordOf(path);
}

/**
 * Why a program is not the one whose hash was recorded; null if it is. One without a record was fetched by an older Signalbox:
 * it is recorded as it is.
 */
export async function alteration(path: string): Promise<string | null> {
  const record = await readFile(recordOf(path), 'utf8').catch(ifMissing(null));
  if (record === null) {
    await recordHash(path).catch(() => {}); // a cache that this user may only read
    return null;
  }
  const [expected] = record.split(/\s/);
  const actual = await hashOf(path);
  return actual === expected ? null : `${path} was altered: its SHA-256 is ${actual}, and was ${expected}`;
}

export function recordOf(path: string): string {
  return `${path}.sha256`;
}

async function hashOf(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: 1024 * 1024 })) hash.update(chunk);
  return hash.digest('hex');
}
