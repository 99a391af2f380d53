import { setTimeout as sleep } from 'node:timers/promises';
import { parseKey } from '../access/keys.ts';
import type { Identity } from '../access/policy.ts';
import type { Session } from '../access/sessions.ts';
import { subjectOf } from '../access/tokens.ts';
import { Problem } from '../domain/errors.ts';
import { checkOrigin } from './origin.ts';
import type { HttpContext } from './route.ts';
import type { Services } from './services.ts';
import { sessionCookie } from './session.ts';
import { claimedSigner, identifySigner } from './signed-request.ts';

/** Who calls; with a session, where a browser's cookie says so. */
export type Caller = Identity | Session;

/**
 * Called once with the caller, as soon as the credential is verified, and before anything is stored for the request. What it
 * throws refuses the request.
 */
export type Met = (caller: Caller) => void;

/**
 * The caller, by the credential that the request carries: a token or key, else a signature, else a session's cookie.
 *
 * @throws {Problem} unauthenticated, too-many-attempts, too-many-requests, foreign-origin, log-unavailable; as `met`
 */
export function identify(c: HttpContext, services: Services, met: Met): Caller | Promise<Caller> {
  const authorization = c.req.header('authorization');
  if (authorization !== undefined) return meeting(byToken(c, authorization, services), met);
  if (c.req.header('signature-input') !== undefined) return bySignature(c, services, met);
  const cookie = sessionCookie(c);
  if (cookie !== undefined) return meeting(bySession(c, cookie, services), met);
  throw new Problem('unauthenticated', 'Send a token as "Authorization: Bearer <token>".');
}

/** How long an answer that needs no caller waits to know the caller: probes give up after a second. */
const PATIENCE_MS = 500;

/**
 * The caller, for routes that answer everybody and show some callers more; null without a valid credential, or where it is not
 * known in time, such as while the identity provider does not answer. The request was counted for its address.
 */
export async function identifyIfAny(c: HttpContext, services: Services): Promise<Caller | null> {
  try {
    const caller = identify(c, services, () => {});
    if (!(caller instanceof Promise)) return caller;
    return await Promise.race([caller.catch(() => null), sleep(PATIENCE_MS, null, { ref: false })]);
  } catch {
    return null;
  }
}

/** Without a promise where there is none. */
function meeting(caller: Caller | Promise<Caller>, met: Met): Caller | Promise<Caller> {
  if (caller instanceof Promise) return caller.then((known) => meeting(known, met));
  met(caller);
  return caller;
}

function bySignature(c: HttpContext, services: Services, met: Met): Identity | Promise<Identity> {
  return verified(
    c,
    services,
    () => identifySigner(c, services, met),
    () => claimedSigner(c),
  );
}

function byToken(c: HttpContext, header: string, services: Services): Identity | Promise<Identity> {
  if (!header.startsWith('Bearer ') && !/^bearer /i.test(header)) {
    throw new Problem('unauthenticated', 'Send a token as "Authorization: Bearer <token>".');
  }
  const credential = header.slice('Bearer '.length).trim();
  return verified(
    c,
    services,
    () => services.verify(credential),
    () => parseKey(credential)?.id ?? subjectOf(credential),
  );
}

function bySession(c: HttpContext, cookie: string, services: Services): Session | Promise<Session> {
  checkOrigin(c, services.publicUrl);
  return verified(
    c,
    services,
    () => services.sessions.verify(cookie),
    () => subjectOf(cookie),
  );
}

/** Without a promise where the credential is known; a refused one may be answered late. */
function verified<T extends Identity>(
  c: HttpContext,
  { signIns, callerAddress }: Services,
  verify: () => T | Promise<T>,
  subject: () => string,
): T | Promise<T> {
  const refuse = async (error: unknown): Promise<never> => {
    throw await signIns.failed(callerAddress(c), subject(), error);
  };
  try {
    const identity = verify();
    return identity instanceof Promise ? identity.catch(refuse) : identity;
  } catch (error) {
    return refuse(error);
  }
}
