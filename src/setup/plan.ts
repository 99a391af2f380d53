import { randomBytes } from 'node:crypto';
import { join, resolve } from 'node:path';
import { readSecret } from '../access/secret.ts';
import { readConfig, type ServerConfig, serverVariables } from '../config.ts';
import { isErrno } from '../files/errno.ts';
import { readEnvFile } from './env-file.ts';
import { SETTINGS, type Setting } from './settings.ts';

export interface Plan {
  /** Always has a secret, however users sign in: the secret is needed to create the loaders' key. */
  config: ServerConfig;
  /** Variables of the existing `.env` that are not settings of `init`. */
  kept: Record<string, string | undefined>;
  loader: { model: string; environment: string | undefined };
  /** The folder to write to, and whether existing files may be replaced. */
  folder: string;
  force: boolean;
}

export type Answers = Partial<Record<Setting['name'], string>>;

/** Returns the paths of an installation's files. */
export function filesOf(folder: string) {
  return { server: join(folder, '.env'), loader: join(folder, '.env.loader') };
}

/** Returns the defaults of the settings: from the folder's `.env`, else the usual ones. */
export function presetsIn(folder: string): Answers {
  const before = readEnvFile(filesOf(folder).server);
  return Object.fromEntries(SETTINGS.map(({ name, preset }) => [name, before[name] || preset]));
}

/** @throws {Error} that lists every invalid setting */
export async function planOf(
  answers: Answers,
  { loader, folder, force }: Omit<Plan, 'config' | 'kept'>,
): Promise<Plan> {
  const before = readEnvFile(filesOf(folder).server);
  const all = { ...before, ...presetsIn(folder), ...answers };
  const volume = resolve(all.REGISTRY_VOLUME || './registry');
  const REGISTRY_JWT_SECRET = before.REGISTRY_JWT_SECRET || (await secretFor(volume));
  const config = readConfig(serverVariables, { ...all, REGISTRY_VOLUME: volume, REGISTRY_JWT_SECRET });
  const written: string[] = [...SETTINGS.map(({ name }) => name), 'REGISTRY_JWT_SECRET', 'REGISTRY_DSN'];
  const kept = Object.fromEntries(Object.entries(before).filter(([name]) => !written.includes(name)));
  return { config, kept, loader, folder, force };
}

/** Returns the volume's secret, so that its tokens stay valid, or a new one. */
async function secretFor(volume: string): Promise<string> {
  const own = await readSecret(volume).catch((error: unknown) => {
    // The checks of the volume report this later.
    if (isErrno(error, 'EACCES')) return null;
    throw error;
  });
  return own ? Buffer.from(own).toString() : randomBytes(32).toString('base64url');
}
