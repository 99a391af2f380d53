import { stat } from 'node:fs/promises';
import { secretFile } from '../access/secret.ts';
import { isErrno } from '../files/errno.ts';
import { type Check, ok, skipped, warning, wrong } from './check.ts';

/** Whoever reads the volume's own secret is an admin. */
export async function checkSecretFile(volume: string): Promise<Check> {
  const path = secretFile(volume);
  const mode = await modeOf(path);
  if (mode === null) return skipped('secret file', `There is no ${path}.`);
  if (!isOpen(mode)) return ok('secret file', `${path} is its owner’s alone`);
  return wrong('secret file', `${path} is open to other users: whoever reads it is an admin.`, `chmod 600 ${path}`);
}

/** The variables of the folder, which may hold secrets. */
export async function checkEnvFile(path: string): Promise<Check> {
  const mode = await modeOf(path);
  if (mode === null) return skipped('.env', 'There is none in this folder.');
  if (!isOpen(mode)) return ok('.env', `${path} is read; it is its owner’s alone`);
  return warning('.env', `${path} is read, and open to other users of this machine.`, `chmod 600 ${path}`);
}

function isOpen(mode: number): boolean {
  return (mode & 0o077) !== 0;
}

/** Null for a file that is not there; one that this user cannot even look at is open to nobody. */
async function modeOf(path: string): Promise<number | null> {
  try {
    return (await stat(path)).mode;
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return null;
    if (isErrno(error, 'EACCES')) return 0;
    throw error;
  }
}
