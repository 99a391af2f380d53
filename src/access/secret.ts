import { randomBytes } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ifMissing } from '../files/errno.ts';
import { replaceFile } from '../files/replace.ts';

/** The file of the secret that the first start on loopback creates. Anyone who can read it is an admin of the registry. */
export function secretFile(volume: string): string {
  return join(volume, '.signalbox', 'secret');
}

/** Returns the volume's own secret; null if it was not created. */
export async function readSecret(volume: string): Promise<Uint8Array | null> {
  const text = await readFile(secretFile(volume), 'utf8').catch(ifMissing(null));
  return text === null ? null : Buffer.from(text.trim());
}

/** Returns the volume's own secret. The first call creates it, readable only by its owner. */
export async function ensureSecret(volume: string): Promise<Uint8Array> {
  const secret = await readSecret(volume);
  if (secret) return secret;
  const fresh = randomBytes(32).toString('base64url');
  await mkdir(join(volume, '.signalbox'), { recursive: true, mode: 0o700 });
  await replaceFile(secretFile(volume), `${fresh}\n`);
  return Buffer.from(fresh);
}
