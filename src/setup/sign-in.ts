import { z } from 'zod';
import { isLoopback } from '../access/loopback.ts';
import { readPolicy } from '../access/policy.ts';
import { MIN_SECRET_BYTES } from '../access/tokens.ts';
import type { ServerConfig } from '../config.ts';
import { reasonOf } from '../files/system-error.ts';
import { type Check, ok, warning, wrong } from './check.ts';

const TIMEOUT_MS = 5_000;

const KeySet = z.object({ keys: z.array(z.object({ kty: z.string(), use: z.string().optional() })).max(1000) });
/** What tokens can be verified with by a key that is public: `oct` would be a shared secret. */
const PUBLIC_KEY_TYPES = ['RSA', 'EC', 'OKP'];

/** How people and services sign in, from what is configured and what the provider answers. */
export async function checkSignIn(config: ServerConfig): Promise<Check[]> {
  const secret = checkSecret(config);
  if (config.REGISTRY_JWKS_URL === undefined) return [secret];
  return [secret, await checkProvider(config, config.REGISTRY_JWKS_URL)];
}

function checkSecret({ REGISTRY_JWT_SECRET: secrets, REGISTRY_JWKS_URL: jwks, HOST }: ServerConfig): Check {
  if (secrets !== undefined) {
    if (secrets.every((secret) => Buffer.byteLength(secret) >= MIN_SECRET_BYTES))
      return ok('secret', 'REGISTRY_JWT_SECRET is long enough');
    const remedy = 'Make one with "openssl rand -hex 32".';
    return wrong('secret', `REGISTRY_JWT_SECRET, or one of several, has less than ${MIN_SECRET_BYTES} bytes.`, remedy);
  }
  if (isLoopback(HOST)) return ok('secret', 'the volume’s own, made at the first start');
  if (jwks !== undefined) return ok('secret', 'none: only tokens of the identity provider are taken');
  const remedy = 'Set REGISTRY_JWT_SECRET or REGISTRY_JWKS_URL.';
  return wrong(
    'secret',
    `Signalbox does not listen on ${HOST}, beyond this machine, without a way to sign in.`,
    remedy,
  );
}

async function checkProvider(config: ServerConfig, url: string): Promise<Check> {
  const name = 'identity provider';
  if (config.REGISTRY_JWT_ISSUER === undefined || config.REGISTRY_JWT_AUDIENCE === undefined) {
    const remedy = 'Set REGISTRY_JWT_ISSUER and REGISTRY_JWT_AUDIENCE.';
    return wrong(name, 'Any of its tokens, meant for anybody, would be taken.', remedy);
  }
  const remedy = 'Correct REGISTRY_JWKS_URL: the provider’s discovery document names it as jwks_uri.';
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS) });
    if (!response.ok) return wrong(name, `${url} answers ${response.status}.`, remedy);
    const found = KeySet.safeParse(await response.json().catch(() => null));
    if (!found.success) return wrong(name, `${url} answers, and not with a set of keys.`, remedy);
    const usable = found.data.keys.filter(({ kty, use }) => PUBLIC_KEY_TYPES.includes(kty) && use !== 'enc');
    if (usable.length === 0) return wrong(name, `${url} has no key to verify signatures with.`, remedy);
    return ok(name, `${usable.length} ${usable.length === 1 ? 'key' : 'keys'} at ${url}`);
  } catch (error) {
    return wrong(name, `${url} cannot be reached: ${reasonOf(error)}.`, remedy);
  }
}

/** Whether the table of who may what can be read, and lets anybody make keys. */
export async function checkPolicy(path: string | undefined): Promise<Check> {
  if (path === undefined) return ok('policy', 'the default: admins everything, users read');
  try {
    const { grants } = await readPolicy(path);
    if (grants.some(({ allow }) => allow.includes('keys'))) return ok('policy', `${path} has ${grants.length} grants`);
    return warning('policy', `${path} lets nobody make API keys.`, 'Grant somebody "keys" or "all".');
  } catch (error) {
    return wrong(
      'policy',
      error instanceof Error ? error.message : String(error),
      'See docs/security.md, "Who may what".',
    );
  }
}
