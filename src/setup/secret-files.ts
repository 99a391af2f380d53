import { stat } from 'node:fs/promises';
import { secretFile } from '../access/secret.ts';
import { isErrno } from '../files/errno.ts';
import { type Check, ok, skipped, warning, wrong } from './check.ts';

/** Checks the volume's secret. Anyone who can read it can act as an admin. */
export async function checkSecretFile(volume: string): Promise<Check> {
  const path = secretFile(volume);
  const mode = await modeOf(path);
  if (mode === null) return skipped('secret file', `${path} does not exist.`);
  if (!isOpen(mode)) return ok('secret file', `only the owner can read ${path}`);
  const detail = `Other users can access ${path}, and anyone who reads it can act as an admin.`;
  return wrong('secret file', detail, `chmod 600 ${path}`);
}

/** Checks the `.env` of the folder, which may hold secrets. */
export async function checkEnvFile(path: string): Promise<Check> {
  const mode = await modeOf(path);
  if (mode === null) return skipped('.env', 'This folder has no .env.');
  if (!isOpen(mode)) return ok('.env', `${path} is loaded; only the owner can read it`);
  return warning('.env', `${path} is loaded, and other users can access it.`, `chmod 600 ${path}`);
}

function isOpen(mode: number): boolean {
  return (mode & 0o077) !== 0;
}

/** Null for a missing file. Mode 0 for a file that this user cannot access at all. */
async function modeOf(path: string): Promise<number | null> {
  try {
    return (await stat(path)).mode;
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return null;
    if (isErrno(error, 'EACCES')) return 0;
    throw error;
  }
}
