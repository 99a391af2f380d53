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

/** The keys of an identity provider, and the issuer and audience that its tokens must have. */
export interface Provider {
  jwksUrl: URL;
  issuer: string;
  audience: string;
}

export interface KeyFetching {
  /** The minimum time between two fetches of the provider's keys. */
  keysCooldownMs?: number | undefined;
  /** The time after a failed fetch until the next one. */
  keysRetryMs?: number | undefined;
}

/** No algorithms with shared secrets: a public key must not be accepted as a secret (RFC 8725, section 3.1). */
const PROVIDER_ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'];
const TIMEOUT_MS = 5_000;
const COOLDOWN_MS = 30_000;
const RETRY_MS = 5_000;
const MAX_KEYS_TRIED = 16;

/** Returns a verifier for the provider's tokens. It throws a JOSEError, or a Problem identity-unavailable. */
export function providerVerifier({ jwksUrl, issuer, audience }: Provider, fetching: KeyFetching) {
  const providerKey = keyFetcher(jwksUrl, fetching);
  return async (token: string, checks: JWTVerifyOptions): Promise<JWTPayload> => {
    const allChecks = { ...checks, issuer, audience, algorithms: PROVIDER_ALGORITHMS };
    try {
      return (await jwtVerify(token, providerKey, allChecks)).payload;
    } catch (error) {
      if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error;
      return verifyByEach(token, error, allChecks);
    }
  };
}

/** Tries each key of the token's algorithm: a token without `kid` may be signed with any of them. */
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
 * Fetches the provider's keys. jose shares one request among concurrent callers, but retries immediately after a failure.
 * So a failure is remembered for some seconds: a provider with problems must not get a request for every token.
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
      if (isTokenError(cause)) throw cause;
      failure = remembered() ?? { cause, until: performance.now() + keysRetryMs };
      throw new Problem('identity-unavailable', 'The keys of the identity provider cannot be fetched.', {}, cause);
    }
  };
}

/** Whether the keys were fetched, but none of them fits the token. */
function isTokenError(error: unknown): boolean {
  const { JWKSNoMatchingKey, JWKSMultipleMatchingKeys, JOSENotSupported } = errors;
  return [JWKSNoMatchingKey, JWKSMultipleMatchingKeys, JOSENotSupported].some((kind) => error instanceof kind);
}
