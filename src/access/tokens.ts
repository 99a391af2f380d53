import { errors, jwtVerify, SignJWT } from 'jose';
import { z } from 'zod';
import { BoundedMap } from '../domain/bounded-map.ts';
import { Problem } from '../domain/errors.ts';
import { ROLES, type Role } from './permissions.ts';

/** Who a token says is calling. */
export interface Identity {
  actor: string;
  role: Role;
}

const Claims = z.object({ sub: z.string().min(1).max(200), role: z.enum(ROLES), exp: z.number() });

const MAX_CACHED = 10_000;
const CLOCK_TOLERANCE_S = 5;

/** HS256 needs a key as long as its hash (RFC 7518, section 3.2). */
export const MIN_SECRET_BYTES = 32;

/** A token for `sub`, good for `seconds`. */
export function signToken(secret: Uint8Array, { actor, role }: Identity, seconds: number, now: Date): Promise<string> {
  const issued = Math.floor(now.getTime() / 1000);
  return new SignJWT({ role })
    .setProtectedHeader({ alg: 'HS256' })
    .setSubject(actor)
    .setIssuedAt(issued)
    .setExpirationTime(issued + seconds)
    .sign(secret);
}

/** @throws {Problem} unauthenticated */
export type VerifyToken = (token: string) => Identity | Promise<Identity>;

/**
 * Verifies HS256 tokens. A verified one is remembered until it expires, among at most 10,000: verifying on every read
 * halves the rate of reads.
 */
export function tokenVerifier(secret: Uint8Array): VerifyToken {
  const verified = new BoundedMap<string, { identity: Identity; until: number }>(MAX_CACHED);

  return (token) => {
    const known = verified.get(token);
    if (known && known.until > Date.now()) return known.identity;
    verified.delete(token);
    return verify(token);
  };

  async function verify(token: string): Promise<Identity> {
    const { sub, role, exp } = await claimsOf(token, secret);
    const identity = { actor: sub, role };
    verified.set(token, { identity, until: (exp + CLOCK_TOLERANCE_S) * 1000 });
    return identity;
  }
}

async function claimsOf(token: string, secret: Uint8Array): Promise<z.infer<typeof Claims>> {
  try {
    // The algorithm is pinned, so that no token chooses how it is verified (RFC 8725, section 3.1).
    const { payload } = await jwtVerify(token, secret, { algorithms: ['HS256'], clockTolerance: CLOCK_TOLERANCE_S });
    return Claims.parse(payload);
  } catch (cause) {
    const why = cause instanceof errors.JWTExpired ? 'The token has expired.' : 'The token is not valid.';
    throw new Problem('unauthenticated', why, {}, cause);
  }
}
