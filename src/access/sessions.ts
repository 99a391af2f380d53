import { hkdfSync } from 'node:crypto';
import { errors, SignJWT } from 'jose';
import { z } from 'zod';
import { Problem } from '../domain/errors.ts';
import { BoundedMap } from '../structures/bounded-map.ts';
import type { Identity } from './policy.ts';
import { checkActor, verifyByAny } from './tokens.ts';

/** A signed-in caller, until `expires_at` without use, and until `ends_at` at the latest. */
export interface Session extends Identity {
  session: { expires_at: Date; ends_at: Date };
}

/** Stateless sessions in a signed cookie. Servers with the same secret accept each other's. */
export interface Sessions {
  /** Begins a session of at most a day, which ends no later than the token. @throws {Problem} unauthenticated, invalid-request */
  begin(identity: Identity): Promise<{ cookie: string; session: Session }>;
  /** @throws {Problem} unauthenticated */
  verify(value: string): Session | Promise<Session>;
  /** Returns a new cookie for a session in use, or null if the present one is valid for long enough. */
  renew(session: Session): Promise<string> | null;
  /** Returns a cookie that deletes the present one. */
  end(): string;
}

/** Browsers accept this prefix only with Secure, Path=/ and without Domain (RFC 6265bis, section 4.1.3.2). */
export const SESSION_COOKIE = '__Host-signalbox';
const ATTRIBUTES = 'Path=/; HttpOnly; Secure; SameSite=Strict';

const IDLE_MS = 3600_000;
const LONGEST_MS = 24 * 3600_000;
const TYPE = 'signalbox-session+jwt';
/** Browsers drop a cookie with a longer name and value (RFC 6265bis, section 5.7). */
const MAX_VALUE_LENGTH = 4096 - SESSION_COOKIE.length;
const MAX_CACHED = 10_000;

const Claims = z.object({
  sub: z.string(),
  role: z.string().nullable(),
  groups: z.array(z.string()),
  exp: z.number(),
  /** When the session ends, even if it is in use, in seconds since 1970. */
  end: z.number(),
});

/** @param secrets the newest first: it signs, and all are accepted */
export function createSessions(secrets: readonly Uint8Array[], now: () => Date = () => new Date()): Sessions {
  const keys = secrets.map(sessionKey);
  const verified = new BoundedMap<string, Session>(MAX_CACHED);

  return {
    async begin(identity) {
      const ends_at = Math.min(now().getTime() + LONGEST_MS, identity.expires_at?.getTime() ?? Infinity);
      if (ends_at <= now().getTime()) throw new Problem('unauthenticated', 'The token has expired.', { expired: true });
      return issue(identity, new Date(ends_at));
    },
    verify(value) {
      const known = verified.get(value);
      return known && known.session.expires_at > now() ? known : check(value);
    },
    renew({ actor, role, groups, session: { expires_at, ends_at } }) {
      if (expires_at.getTime() - now().getTime() > IDLE_MS / 2 || expires_at >= ends_at) return null;
      return issue({ actor, role, groups }, ends_at).then(({ cookie }) => cookie);
    },
    end: () => `${SESSION_COOKIE}=; ${ATTRIBUTES}; Max-Age=0`,
  };

  async function issue({ actor, role, groups }: Identity, ends_at: Date) {
    const expires_at = new Date(Math.min(now().getTime() + IDLE_MS, ends_at.getTime()));
    const value = await new SignJWT({ role, groups, end: seconds(ends_at) })
      .setProtectedHeader({ alg: 'HS256', typ: TYPE })
      .setSubject(actor)
      .setExpirationTime(seconds(expires_at))
      .sign(keys[0]!);
    if (value.length > MAX_VALUE_LENGTH) {
      throw new Problem('invalid-request', 'The token has more groups than fit into a session cookie.');
    }
    const maxAge = Math.ceil((expires_at.getTime() - now().getTime()) / 1000);
    const cookie = `${SESSION_COOKIE}=${value}; ${ATTRIBUTES}; Max-Age=${maxAge}`;
    return { cookie, session: { actor, role, groups, session: { expires_at, ends_at } } };
  }

  async function check(value: string): Promise<Session> {
    const { sub: actor, role, groups, exp, end } = await claimsOf(value);
    checkActor(actor);
    const session = { actor, role, groups, session: { expires_at: at(exp), ends_at: at(end) } };
    verified.set(value, session);
    return session;
  }

  async function claimsOf(value: string): Promise<z.infer<typeof Claims>> {
    const options = { algorithms: ['HS256'], typ: TYPE, currentDate: now() };
    try {
      if (value.length > MAX_VALUE_LENGTH) throw new errors.JWTInvalid('the cookie is too long');
      return Claims.parse((await verifyByAny(value, keys, options)).payload);
    } catch (cause) {
      const expired = cause instanceof errors.JWTExpired;
      const detail = `The session ${expired ? 'has expired' : 'is not valid'}. Sign in again.`;
      throw new Problem('unauthenticated', detail, { expired }, cause);
    }
  }
}

/** Derives a separate key, so that a token is not accepted as a cookie or a cookie as a token. */
function sessionKey(secret: Uint8Array): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', secret, '', 'signalbox session', 32));
}

function seconds(time: Date): number {
  return Math.floor(time.getTime() / 1000);
}

function at(seconds: number): Date {
  return new Date(seconds * 1000);
}
