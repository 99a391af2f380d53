import { randomBytes } from 'node:crypto';
import { join, resolve } from 'node:path';
import { readSecret } from '../access/secret.ts';
import { readConfig, type ServerConfig, serverVariables } from '../config.ts';
import { isErrno } from '../files/errno.ts';
import { readEnvFile } from './env-file.ts';
import { SETTINGS, type Setting } from './settings.ts';

/** What is to be installed. */
export interface Plan {
  /** With a secret, whichever way people sign in: it makes the loaders' key. */
  config: ServerConfig;
  /** Variables of the `.env` that is there which nobody asks about. */
  kept: Record<string, string | undefined>;
  loader: { model: string; environment: string | undefined };
  /** Where the files go, and whether they may replace what is there. */
  folder: string;
  force: boolean;
}

export type Answers = Partial<Record<Setting['name'], string>>;

/** The files that an installation is written to. */
export function filesOf(folder: string) {
  return { server: join(folder, '.env'), loader: join(folder, '.env.loader') };
}

/** What holds where nobody answers: what the folder's `.env` says, else what is usual. */
export function presetsIn(folder: string): Answers {
  const before = readEnvFile(filesOf(folder).server);
  return Object.fromEntries(SETTINGS.map(({ name, preset }) => [name, before[name] || preset]));
}

/** @throws {Error} naming every variable whose answer is not valid */
export async function planOf(
  answers: Answers,
  { loader, folder, force }: Omit<Plan, 'config' | 'kept'>,
): Promise<Plan> {
  const before = readEnvFile(filesOf(folder).server);
  const all = { ...before, ...presetsIn(folder), ...answers };
  const volume = resolve(all.REGISTRY_VOLUME || './registry');
  const REGISTRY_JWT_SECRET = before.REGISTRY_JWT_SECRET || (await secretFor(volume));
  const config = readConfig(serverVariables, { ...all, REGISTRY_VOLUME: volume, REGISTRY_JWT_SECRET });
  const asked: string[] = [...SETTINGS.map(({ name }) => name), 'REGISTRY_JWT_SECRET', 'REGISTRY_DSN'];
  const kept = Object.fromEntries(Object.entries(before).filter(([name]) => !asked.includes(name)));
  return { config, kept, loader, folder, force };
}

/** The volume's own where it has one, so that its tokens stay good; else a new one. */
async function secretFor(volume: string): Promise<string> {
  const own = await readSecret(volume).catch((error: unknown) => {
    // That the volume is somebody else's is told when it is tried.
    if (isErrno(error, 'EACCES')) return null;
    throw error;
  });
  return own ? Buffer.from(own).toString() : randomBytes(32).toString('base64url');
}
