import { decodeJwt, decodeProtectedHeader, errors, type JWTVerifyOptions, jwtVerify, SignJWT } from 'jose';
import { z } from 'zod';
import { Problem } from '../domain/errors.ts';
import { BoundedMap } from '../structures/bounded-map.ts';
import { actorNameProblem } from './actor-name.ts';
import type { Identity } from './policy.ts';
import { type KeyFetching, type Provider, providerVerifier } from './provider-keys.ts';

export interface VerifierOptions extends KeyFetching {
  /** Secrets of HS256 tokens; all are accepted. Empty if only the provider's tokens are accepted. */
  secrets: readonly Uint8Array[];
  provider?: Provider | undefined;
  /** The claims with the role and the groups. A dot separates the names of nested objects. */
  roleClaim?: string;
  groupsClaim?: string;
}

const Claims = z.looseObject({ sub: z.string(), exp: z.number() });
const Groups = z.array(z.string().max(200)).max(1000).catch([]);

/** The largest Date (ECMA-262). Some tokens have a larger number, which means that they never expire. */
const LAST_DATE_MS = 8.64e15;
const MAX_CACHED = 10_000;
const CLOCK_TOLERANCE_S = 5;
const MAX_TOKEN_LENGTH = 8192;

/** HS256 needs a key as long as its hash (RFC 7518, section 3.2). */
export const MIN_SECRET_BYTES = 32;

/** Signs a token for `actor` that expires after `seconds`. */
export function signToken(
  secret: Uint8Array,
  { actor, role }: { actor: string; role: string },
  seconds: number,
  now: Date,
): Promise<string> {
  const issued = Math.floor(now.getTime() / 1000);
  return new SignJWT({ role })
    .setProtectedHeader({ alg: 'HS256' })
    .setSubject(actor)
    .setIssuedAt(issued)
    .setExpirationTime(issued + seconds)
    .sign(secret);
}

/** @throws {Problem} unauthenticated; identity-unavailable if the provider's keys cannot be fetched */
export type VerifyToken = (token: string) => Identity | Promise<Identity>;

/**
 * Returns a verifier of tokens, with the registry's secrets or the provider's keys, which are fetched again if a key is
 * unknown. Up to 10,000 verified tokens are cached until they expire: verifying on every read would halve the read rate.
 */
export function tokenVerifier(options: VerifierOptions): VerifyToken {
  const { roleClaim = 'role', groupsClaim = 'groups' } = options;
  const verified = new BoundedMap<string, { identity: Identity; until: number }>(MAX_CACHED);
  const verifyClaims = claimsVerifier(options);

  return (token) => {
    const known = verified.get(token);
    if (known && known.until > Date.now()) return known.identity;
    verified.delete(token);
    return verify(token);
  };

  async function verify(token: string): Promise<Identity> {
    const claims = await verifyClaims(token);
    checkActor(claims.sub);
    const role = claimAt(claims, roleClaim);
    const groups = Groups.parse(claimAt(claims, groupsClaim));
    const expires_at = new Date(Math.min(claims.exp * 1000, LAST_DATE_MS));
    const identity = { actor: claims.sub, role: typeof role === 'string' ? role : null, groups, expires_at };
    verified.set(token, { identity, until: expires_at.getTime() + CLOCK_TOLERANCE_S * 1000 });
    return identity;
  }
}

function claimsVerifier({ secrets, provider, ...fetching }: VerifierOptions) {
  const verifyByProvider = provider && providerVerifier(provider, fetching);
  const checks: JWTVerifyOptions = { clockTolerance: CLOCK_TOLERANCE_S, requiredClaims: ['sub', 'exp'] };

  return async (token: string): Promise<z.infer<typeof Claims>> => {
    try {
      if (token.length > MAX_TOKEN_LENGTH) throw new errors.JWTInvalid('the token is too long');
      // The header only selects the kind of key. Each kind accepts only its own algorithms.
      const { alg } = decodeProtectedHeader(token);
      if (alg === 'HS256' && secrets.length > 0) {
        return Claims.parse((await verifyByAny(token, secrets, { ...checks, algorithms: ['HS256'] })).payload);
      }
      if (!verifyByProvider) throw new errors.JOSEAlgNotAllowed('no key is there for the algorithm');
      return Claims.parse(await verifyByProvider(token, checks));
    } catch (cause) {
      if (cause instanceof Problem) throw cause;
      const expired = cause instanceof errors.JWTExpired;
      throw new Problem(
        'unauthenticated',
        `The token ${expired ? 'has expired' : 'is not valid'}.`,
        { expired },
        cause,
      );
    }
  };
}

/** @throws {Problem} unauthenticated for an invalid actor name, with the reason: the provider's settings may cause it */
export function checkActor(sub: string): void {
  const wrong = actorNameProblem(sub);
  if (wrong !== null) throw new Problem('unauthenticated', `The subject (sub) of the token ${wrong}.`);
}

/** Returns the subject of a token without verifying it. */
export function subjectOf(token: string): string {
  try {
    return String(decodeJwt(token).sub).slice(0, 200);
  } catch {
    return '';
  }
}

/** Verifies a token with each of the keys in turn. @throws {errors.JOSEError} the error of the last key */
export async function verifyByAny(
  token: string,
  keys: readonly Uint8Array[],
  options: Parameters<typeof jwtVerify>[2],
): ReturnType<typeof jwtVerify> {
  const [key, ...older] = keys;
  try {
    return await jwtVerify(token, key!, options);
  } catch (error) {
    if (older.length === 0 || !(error instanceof errors.JWSSignatureVerificationFailed)) throw error;
    return verifyByAny(token, older, options);
  }
}

/** Returns the claim at a path such as `realm_access.roles`. A claim with the whole path as its name takes precedence. */
function claimAt(claims: Record<string, unknown>, path: string): unknown {
  if (Object.hasOwn(claims, path)) return claims[path];
  return path.split('.').reduce<unknown>((value, name) => {
    const isObject = typeof value === 'object' && value !== null;
    return isObject && Object.hasOwn(value, name) ? (value as Record<string, unknown>)[name] : undefined;
  }, claims);
}
