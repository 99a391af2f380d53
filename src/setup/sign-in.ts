import { z } from 'zod';
import { isLoopback } from '../access/loopback.ts';
import { readPolicy } from '../access/policy.ts';
import { MIN_SECRET_BYTES } from '../access/tokens.ts';
import type { ServerConfig } from '../config.ts';
import { reasonOf, sentenceOf } from '../files/system-error.ts';
import { type Check, ok, warning, wrong } from './check.ts';

const TIMEOUT_MS = 5_000;

const KeySet = z.object({ keys: z.array(z.object({ kty: z.string(), use: z.string().optional() })).max(1000) });
/** Types of public keys, which can verify tokens. `oct` would be a shared secret. */
const PUBLIC_KEY_TYPES = ['RSA', 'EC', 'OKP'];

/** Checks how users and services sign in: the secret, and the identity provider if there is one. */
export async function checkSignIn(config: ServerConfig): Promise<Check[]> {
  const secret = checkSecret(config);
  if (config.REGISTRY_JWKS_URL === undefined) return [secret];
  return [secret, await checkProvider(config, config.REGISTRY_JWKS_URL)];
}

function checkSecret({ REGISTRY_JWT_SECRET: secrets, REGISTRY_JWKS_URL: jwks, HOST }: ServerConfig): Check {
  if (secrets !== undefined) {
    if (secrets.every((secret) => Buffer.byteLength(secret) >= MIN_SECRET_BYTES))
      return ok('secret', 'REGISTRY_JWT_SECRET is long enough');
    const remedy = 'Create one with "openssl rand -hex 32".';
    return wrong('secret', `A secret in REGISTRY_JWT_SECRET is shorter than ${MIN_SECRET_BYTES} bytes.`, remedy);
  }
  if (isLoopback(HOST)) return ok('secret', 'the secret of the volume, created at the first start');
  if (jwks !== undefined) return ok('secret', 'not set: only tokens of the identity provider are accepted');
  const remedy = 'Set REGISTRY_JWT_SECRET or REGISTRY_JWKS_URL.';
  return wrong(
    'secret',
    `Without a way to sign in, Signalbox refuses to listen on ${HOST}, which other machines can reach.`,
    remedy,
  );
}

async function checkProvider(config: ServerConfig, url: string): Promise<Check> {
  const name = 'identity provider';
  if (config.REGISTRY_JWT_ISSUER === undefined || config.REGISTRY_JWT_AUDIENCE === undefined) {
    const remedy = 'Set REGISTRY_JWT_ISSUER and REGISTRY_JWT_AUDIENCE.';
    return wrong(name, 'Tokens that the provider issued for other services would be accepted.', remedy);
  }
  const remedy = 'Correct REGISTRY_JWKS_URL. It is the jwks_uri in the provider’s discovery document.';
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS) });
    if (!response.ok) return wrong(name, `${url} answers with status ${response.status}.`, remedy);
    const found = KeySet.safeParse(await response.json().catch(() => null));
    if (!found.success) return wrong(name, `The response of ${url} is not a JSON Web Key Set.`, remedy);
    const usable = found.data.keys.filter(({ kty, use }) => PUBLIC_KEY_TYPES.includes(kty) && use !== 'enc');
    if (usable.length === 0) return wrong(name, `${url} has no key that can verify signatures.`, remedy);
    return ok(name, `${usable.length} ${usable.length === 1 ? 'key' : 'keys'} at ${url}`);
  } catch (error) {
    return wrong(name, `${url} cannot be reached: ${reasonOf(error)}.`, remedy);
  }
}

/** Checks that the policy can be read, and that it allows some role to create API keys. */
export async function checkPolicy(path: string | undefined): Promise<Check> {
  if (path === undefined) return ok('policy', 'default: admins may do everything, users may read');
  try {
    const { grants } = await readPolicy(path);
    if (grants.some(({ allow }) => allow.includes('keys'))) return ok('policy', `${path} has ${grants.length} grants`);
    return warning('policy', `${path} allows no caller to create API keys.`, 'Add a grant with "keys" or "all".');
  } catch (error) {
    return wrong('policy', sentenceOf(error), 'See docs/security.md, "Who may what".');
  }
}
