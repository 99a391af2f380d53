import {
  createRemoteJWKSet,
  customFetch,
  errors,
  type JWTPayload,
  type JWTVerifyGetKey,
  type JWTVerifyOptions,
  jwtVerify,
} from 'jose';
import { Problem } from '../domain/errors.ts';

/** The keys of an identity provider, and what its tokens must say to be meant for this registry. */
export interface Provider {
  jwksUrl: URL;
  issuer: string;
  audience: string;
}

export interface KeyFetching {
  /** How long after the provider's keys were fetched they may be fetched again. */
  keysCooldownMs?: number | undefined;
  /** How long after a failure the provider is not asked again. */
  keysRetryMs?: number | undefined;
}

/** Without those of shared secrets: a public key is no secret to sign with (RFC 8725, section 3.1). */
const PROVIDER_ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'];
const TIMEOUT_MS = 5_000;
const COOLDOWN_MS = 30_000;
const RETRY_MS = 5_000;
const MAX_KEYS_TRIED = 16;

/** Verifies a token of the provider. @throws {errors.JOSEError}; {Problem} identity-unavailable */
export function providerVerifier({ jwksUrl, issuer, audience }: Provider, fetching: KeyFetching) {
  const providerKey = keyFetcher(jwksUrl, fetching);
  return async (token: string, checks: JWTVerifyOptions): Promise<JWTPayload> => {
    const meant = { ...checks, issuer, audience, algorithms: PROVIDER_ALGORITHMS };
    try {
      return (await jwtVerify(token, providerKey, meant)).payload;
    } catch (error) {
      if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error;
      return verifyByEach(token, error, meant);
    }
  };
}

/** A token without `kid` may be signed by any of the keys that fit its algorithm. */
async function verifyByEach(
  token: string,
  keys: errors.JWKSMultipleMatchingKeys,
  options: JWTVerifyOptions,
): Promise<JWTPayload> {
  let tried = 0;
  for await (const key of keys) {
    if (++tried > MAX_KEYS_TRIED) break;
    try {
      return (await jwtVerify(token, key, options)).payload;
    } catch (error) {
      if (!(error instanceof errors.JWSSignatureVerificationFailed)) throw error;
    }
  }
  throw new errors.JWSSignatureVerificationFailed();
}

/**
 * The provider's keys. jose has one request in flight for all who wait, but asks again at once after a failure: for some
 * seconds the failure is remembered, so that a provider in trouble is not asked for every token.
 */
function keyFetcher(
  jwksUrl: URL,
  { keysCooldownMs: cooldownDuration = COOLDOWN_MS, keysRetryMs = RETRY_MS }: KeyFetching,
): JWTVerifyGetKey {
  let failure: { cause: unknown; until: number } | null = null;
  const remembered = () => (failure !== null && performance.now() < failure.until ? failure : null);
  const keys = createRemoteJWKSet(jwksUrl, {
    timeoutDuration: TIMEOUT_MS,
    cooldownDuration,
    async [customFetch](url, init) {
      const last = remembered();
      if (last) throw last.cause;
      return fetch(url, init);
    },
  });
  return async (header, token) => {
    try {
      return await keys(header, token);
    } catch (cause) {
      if (isTokensFault(cause)) throw cause;
      failure = remembered() ?? { cause, until: performance.now() + keysRetryMs };
      throw new Problem('identity-unavailable', 'The keys of the identity provider cannot be fetched.', {}, cause);
    }
  };
}

/** Not that the keys cannot be fetched. */
function isTokensFault(error: unknown): boolean {
  const { JWKSNoMatchingKey, JWKSMultipleMatchingKeys, JOSENotSupported } = errors;
  return [JWKSNoMatchingKey, JWKSMultipleMatchingKeys, JOSENotSupported].some((kind) => error instanceof kind);
}
