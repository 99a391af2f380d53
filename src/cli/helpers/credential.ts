import { resolve } from 'node:path';
import type { CredentialRefused } from '../../client/client.ts';
import { clientVariables } from '../../config.ts';
import { readEnvFile } from '../../setup/env-file.ts';

/** Names the credential that the registry refused, where it was configured, and what to do. */
export function adviceOnRefused({ signed }: CredentialRefused, env: NodeJS.ProcessEnv): string {
  if (signed) {
    const key = origin('REGISTRY_SIGNING_KEY', env);
    return `The request was signed with ${key}. Check that this key belongs to this registry, has not expired and was not revoked.`;
  }
  if (env.REGISTRY_TOKEN) {
    return `The token came from ${origin('REGISTRY_TOKEN', env)}. Replace it with one from "signalbox token" or "signalbox key create".`;
  }
  const own = env.REGISTRY_JWT_SECRET
    ? origin('REGISTRY_JWT_SECRET', env)
    : `the secret of the volume ${resolve(env.REGISTRY_VOLUME || './registry')}`;
  const dsn = env.REGISTRY_DSN || clientVariables.parse({}).REGISTRY_DSN;
  return `The token was signed with ${own}. If the registry at ${dsn} has another secret, set REGISTRY_TOKEN.`;
}

/** Names a variable, and the `.env` that sets it. */
function origin(name: string, env: NodeJS.ProcessEnv): string {
  return readEnvFile('.env')[name] === env[name] ? `${name} (from ${resolve('.env')})` : name;
}
