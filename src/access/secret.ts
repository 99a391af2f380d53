import { randomBytes } from 'node:crypto';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isErrno } from '../files/errno.ts';

/** Where the first start on loopback keeps the secret it makes; whoever can read it is an admin of this registry. */
export function secretFile(volume: string): string {
  return join(volume, '.signalbox', 'secret');
}

/** The volume's own secret, or null where none was made. */
export async function readSecret(volume: string): Promise<Uint8Array | null> {
  try {
    return Buffer.from((await readFile(secretFile(volume), 'utf8')).trim());
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return null;
    throw error;
  }
}

/** The volume's own secret, made at the first call and readable only by its owner. */
export async function ensureSecret(volume: string): Promise<Uint8Array> {
  const secret = await readSecret(volume);
  if (secret) return secret;
  const fresh = randomBytes(32).toString('base64url');
  await mkdir(join(volume, '.signalbox'), { recursive: true, mode: 0o700 });
  // By rename: a start that is killed here must not leave an empty secret behind.
  const unfinished = `${secretFile(volume)}.new`;
  await rm(unfinished, { force: true });
  await writeFile(unfinished, `${fresh}\n`, { mode: 0o600, flag: 'wx' });
  await rename(unfinished, secretFile(volume));
  return Buffer.from(fresh);
}
