import { userInfo } from 'node:os';
import { type Command, Option } from 'commander';
import { readSecret, secretFile } from '../access/secret.ts';
import { signToken } from '../access/tokens.ts';
import { createClient, type RegistryClient } from '../client/client.ts';
import { type ClientConfig, clientVariables, readConfig } from '../config.ts';
import { Problem } from '../domain/errors.ts';

export interface Session {
  client: RegistryClient;
  /** The address of the model's routes. */
  base: string;
  model: string;
}

/** The options that every verb that asks the registry takes. */
export function withSession(verb: Command): Command {
  return verb
    .addOption(new Option('-m, --model <name>', 'the model').default('default').env('REGISTRY_MODEL'))
    .option('--json', 'print the registry’s own answer');
}

export function openSession({ model }: { model: string }): Session {
  const config = readConfig(clientVariables, process.env);
  const client = createClient({ dsn: config.REGISTRY_DSN, token: () => tokenFor(config) });
  return { client, base: `/api/models/${encodeURIComponent(model)}`, model };
}

const A_MINUTE = 60;

/** REGISTRY_TOKEN, or one signed with the secret of a registry on this machine, which is sent nowhere else. */
async function tokenFor(config: ClientConfig): Promise<string> {
  if (config.REGISTRY_TOKEN !== undefined) return config.REGISTRY_TOKEN;
  const { hostname } = new URL(config.REGISTRY_DSN);
  const local = ['localhost', '[::1]'].includes(hostname) || hostname.startsWith('127.');
  if (!local) throw new Problem('unauthenticated', `No token for ${config.REGISTRY_DSN}.`);
  return localToken(config.REGISTRY_VOLUME, { role: 'admin', seconds: 10 * A_MINUTE });
}

/** @throws {Problem} unauthenticated where the volume has no secret of its own, or none that this user may read */
export async function localToken(
  volume: string,
  { role, seconds, actor = userInfo().username }: { role: 'admin' | 'user'; seconds: number; actor?: string },
): Promise<string> {
  const secret = await readSecret(volume).catch((cause: unknown) => {
    throw new Problem('unauthenticated', `${secretFile(volume)} cannot be read.`, {}, cause);
  });
  if (!secret) throw new Problem('unauthenticated', `No token, and no secret at ${secretFile(volume)}.`);
  return signToken(secret, { actor, role }, seconds, new Date());
}
