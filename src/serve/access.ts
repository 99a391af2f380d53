import type { Logger } from 'pino';
import { createBlobAccess } from '../access/blob-access.ts';
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
import type { Nats } from '../log/connection.ts';
import type { ReadModel } from '../projections/read-model/read-model.ts';
import { modelsWith } from '../projections/read-model/references.ts';
import { createLimiter } from '../structures/limiter.ts';
import type { Opened } from './parts.ts';

/** Settings that are read before the log is opened, so that a mistake in them stops the start at once. */
export interface AccessSettings {
  secrets: readonly Uint8Array[];
  /** The secrets that sign session cookies: the configured ones, or else one on the volume. */
  sessionSecrets: readonly Uint8Array[];
  verifyToken: VerifyToken;
  policy: Policy;
}

/** @throws {Error} that names the invalid variable or file */
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

/** Opens what identifies callers, and limits what they may do and how often. */
export async function openAccess(
  { secrets, sessionSecrets, verifyToken, policy }: AccessSettings,
  { config, nats, readModel, log }: { config: ServerConfig; nats: Nats; readModel: ReadModel; log: Logger },
  opened: Opened,
) {
  const { REGISTRY_RATE_LIMIT: rateLimit, REGISTRY_PUBLIC_URL: publicUrl, REGISTRY_CORS_ORIGINS: origins } = config;
  const keys = openKeyStore(nats, log);
  opened(() => keys.close());
  await keys.ready();
  return {
    verify: (sent: string) => (isKey(sent) || isSigningKey(sent) ? keys.verify(sent) : verifyToken(sent)),
    keys,
    signing: { secrets, nonces: openNonces(nats) },
    sessions: createSessions(sessionSecrets),
    signIns: createSignIns(),
    limiter: rateLimit === 0 ? null : createLimiter({ quota: rateLimit, window: 60 }, Date.now),
    callerAddress: callerAddress(config.REGISTRY_TRUSTED_PROXIES),
    publicUrl: publicUrl === undefined ? null : new URL(publicUrl),
    corsOrigins: origins.map((url) => new URL(url).origin),
    policy,
    blobAccess: createBlobAccess(policy, (digest) => modelsWith(readModel.db, digest)),
  };
}

/**
 * Returns the secrets that sign tokens, the newest first; none if only tokens of the provider are accepted.
 *
 * @throws {Error} if the server listens beyond loopback without a secret or a provider, or a secret is too short
 */
async function secretsOf(config: ServerConfig, volume: string): Promise<Uint8Array[]> {
  const { REGISTRY_JWT_SECRET: secrets, REGISTRY_JWKS_URL: jwks, HOST } = config;
  if (secrets !== undefined) {
    if (secrets.every((secret) => Buffer.byteLength(secret) >= MIN_SECRET_BYTES))
      return secrets.map((secret) => Buffer.from(secret));
    throw new Error(`REGISTRY_JWT_SECRET must have at least ${MIN_SECRET_BYTES} bytes per secret.`);
  }
  if (isLoopback(HOST)) return [await ensureSecret(volume)];
  if (jwks !== undefined) return [];
  throw new Error(`To listen on ${HOST} (not loopback), set REGISTRY_JWT_SECRET or REGISTRY_JWKS_URL.`);
}

/** @throws {Error} if issuer or audience is missing: tokens that the provider issued for other services would be accepted */
function providerOf(config: ServerConfig): Provider | undefined {
  const { REGISTRY_JWKS_URL: jwks, REGISTRY_JWT_ISSUER: issuer, REGISTRY_JWT_AUDIENCE: audience } = config;
  if (jwks === undefined) return undefined;
  if (issuer !== undefined && audience !== undefined) return { jwksUrl: new URL(jwks), issuer, audience };
  throw new Error('REGISTRY_JWKS_URL also needs REGISTRY_JWT_ISSUER and REGISTRY_JWT_AUDIENCE.');
}
