import { randomBytes } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ifMissing } from '../files/errno.ts';
import { replaceFile } from '../files/replace.ts';

/** Where the first start on loopback keeps the secret it makes; whoever can read it is an admin of this registry. */
export function secretFile(volume: string): string {
  return join(volume, '.signalbox', 'secret');
}

/** The volume's own secret, or null where none was made. */
export async function readSecret(volume: string): Promise<Uint8Array | null> {
  const text = await readFile(secretFile(volume), 'utf8').catch(ifMissing(null));
  return text === null ? null : Buffer.from(text.trim());
}

/** The volume's own secret, made at the first call and readable only by its owner. */
export async function ensureSecret(volume: string): Promise<Uint8Array> {
  const secret = await readSecret(volume);
  if (secret) return secret;
  const fresh = randomBytes(32).toString('base64url');
  await mkdir(join(volume, '.signalbox'), { recursive: true, mode: 0o700 });
  await replaceFile(secretFile(volume), `${fresh}\n`);
  return Buffer.from(fresh);
}
