import type { Logger } from 'pino';
import { openKeyStore } from '../access/key-store.ts';
import { isKey } from '../access/keys.ts';
import { isLoopback } from '../access/loopback.ts';
import { openNonces } from '../access/nonces.ts';
import { DEFAULT_POLICY, type Policy, readPolicy } from '../access/policy.ts';
import type { Provider } from '../access/provider-keys.ts';
import { ensureSecret } from '../access/secret.ts';
import { createSessions } from '../access/sessions.ts';
import { createSignIns } from '../access/sign-ins.ts';
import { isSigningKey } from '../access/signing-key.ts';
import { MIN_SECRET_BYTES, tokenVerifier, type VerifyToken } from '../access/tokens.ts';
import type { ServerConfig } from '../config.ts';
import { callerAddress } from '../http/caller/address.ts';
import type { Services } from '../http/services.ts';
import type { Nats } from '../log/connection.ts';
import { createLimiter } from '../structures/limiter.ts';
import type { Opened } from './opened.ts';

/** What is known of callers before the log is: whatever is wrong with it stops a start at once. */
export interface AccessSettings {
  secrets: readonly Uint8Array[];
  /** Without a secret of the registry's own, one of the volume's signs the cookies of this server. */
  sessionSecrets: readonly Uint8Array[];
  verifyToken: VerifyToken;
  policy: Policy;
}

/** @throws {Error} naming the variable or the file that is wrong */
export async function readAccess(config: ServerConfig, volume: string): Promise<AccessSettings> {
  const secrets = await secretsOf(config, volume);
  const { REGISTRY_ROLE_CLAIM: roleClaim, REGISTRY_GROUPS_CLAIM: groupsClaim, REGISTRY_POLICY: policy } = config;
  return {
    secrets,
    sessionSecrets: secrets.length > 0 ? secrets : [await ensureSecret(volume)],
    verifyToken: tokenVerifier({ secrets, provider: providerOf(config), roleClaim, groupsClaim }),
    policy: policy === undefined ? DEFAULT_POLICY : await readPolicy(policy),
  };
}

type Access = Pick<
  Services,
  | 'verify'
  | 'keys'
  | 'signing'
  | 'sessions'
  | 'signIns'
  | 'limiter'
  | 'callerAddress'
  | 'publicUrl'
  | 'corsOrigins'
  | 'policy'
>;

/** Who calls, what he may do and how often. */
export async function openAccess(
  { secrets, sessionSecrets, verifyToken, policy }: AccessSettings,
  { config, nats, log }: { config: ServerConfig; nats: Nats; log: Logger },
  opened: Opened,
): Promise<Access> {
  const { REGISTRY_RATE_LIMIT: rateLimit, REGISTRY_PUBLIC_URL: publicUrl, REGISTRY_CORS_ORIGINS: origins } = config;
  const keys = openKeyStore(nats, log);
  opened(() => keys.close());
  await keys.ready();
  return {
    verify: (sent) => (isKey(sent) || isSigningKey(sent) ? keys.verify(sent) : verifyToken(sent)),
    keys,
    signing: { secrets, nonces: openNonces(nats) },
    sessions: createSessions(sessionSecrets),
    signIns: createSignIns(),
    limiter: rateLimit === 0 ? null : createLimiter({ quota: rateLimit, window: 60 }, Date.now),
    callerAddress: callerAddress(config.REGISTRY_TRUSTED_PROXIES),
    publicUrl: publicUrl === undefined ? null : new URL(publicUrl),
    corsOrigins: origins.map((url) => new URL(url).origin),
    policy,
  };
}

/**
 * What tokens are signed with here, the newest first; none where only the provider's are taken.
 *
 * @throws {Error} beyond loopback without a secret or a provider, or with a secret too short to sign with
 */
async function secretsOf(config: ServerConfig, volume: string): Promise<Uint8Array[]> {
  const { REGISTRY_JWT_SECRET: secrets, REGISTRY_JWKS_URL: jwks, HOST } = config;
  if (secrets !== undefined) {
    if (secrets.every((secret) => Buffer.byteLength(secret) >= MIN_SECRET_BYTES)) return secrets.map(bytesOf);
    throw new Error(`REGISTRY_JWT_SECRET must have at least ${MIN_SECRET_BYTES} bytes, and each of several, too.`);
  }
  if (isLoopback(HOST)) return [await ensureSecret(volume)];
  if (jwks !== undefined) return [];
  throw new Error(`To listen on ${HOST}, beyond this machine, set REGISTRY_JWT_SECRET or REGISTRY_JWKS_URL.`);
}

function bytesOf(secret: string): Uint8Array {
  return Buffer.from(secret);
}

/** @throws {Error} for a provider without issuer and audience: any of its tokens, meant for anybody, would be taken */
function providerOf(config: ServerConfig): Provider | undefined {
  const { REGISTRY_JWKS_URL: jwks, REGISTRY_JWT_ISSUER: issuer, REGISTRY_JWT_AUDIENCE: audience } = config;
  if (jwks === undefined) return undefined;
  if (issuer !== undefined && audience !== undefined) return { jwksUrl: new URL(jwks), issuer, audience };
  throw new Error('With REGISTRY_JWKS_URL, set REGISTRY_JWT_ISSUER and REGISTRY_JWT_AUDIENCE, too.');
}
