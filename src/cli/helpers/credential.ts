import { resolve } from 'node:path';
import type { CredentialRefused } from '../../client/client.ts';
import { clientVariables } from '../../config.ts';
import { readEnvFile } from '../../setup/env-file.ts';

/** What was sent and refused, where it comes from, and what to do about it. */
export function adviceOnRefused({ signed }: CredentialRefused, env: NodeJS.ProcessEnv): string {
  if (signed) {
    const key = origin('REGISTRY_SIGNING_KEY', env);
    return `The request was signed with ${key}. Was that key revoked, has it expired, or is it of another registry?`;
  }
  if (env.REGISTRY_TOKEN) {
    return `The token of ${origin('REGISTRY_TOKEN', env)} was sent. Replace it: "signalbox token" and "signalbox key create" make one.`;
  }
  const own = env.REGISTRY_JWT_SECRET
    ? origin('REGISTRY_JWT_SECRET', env)
    : `the secret of the volume ${resolve(env.REGISTRY_VOLUME || './registry')}`;
  const dsn = env.REGISTRY_DSN || clientVariables.parse({}).REGISTRY_DSN;
  return `The token was signed with ${own}. If that is not the secret of the registry at ${dsn}, set REGISTRY_TOKEN.`;
}

/** A variable, and the `.env` that it was read from. */
function origin(name: string, env: NodeJS.ProcessEnv): string {
  return readEnvFile('.env')[name] === env[name] ? `${name} (from ${resolve('.env')})` : name;
}
