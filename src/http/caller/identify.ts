import { setTimeout as sleep } from 'node:timers/promises';
import { parseKey } from '../../access/keys.ts';
import type { Identity } from '../../access/policy.ts';
import type { Session, Sessions } from '../../access/sessions.ts';
import type { SignIns } from '../../access/sign-ins.ts';
import { subjectOf, type VerifyToken } from '../../access/tokens.ts';
import { Problem } from '../../domain/errors.ts';
import type { HttpContext } from '../server/context.ts';
import type { CallerAddress } from './address.ts';
import type { Admit, Caller } from './caller.ts';
import { checkOrigin } from './origin.ts';
import { sessionCookie } from './session-cookie.ts';
import { claimedSigner, identifySigner, type SigningServices } from './signed-request.ts';

/** What identifies callers. */
export interface CallerServices extends SigningServices {
  /** Verifies a token or an API key. */
  verify: VerifyToken;
  sessions: Sessions;
  signIns: SignIns;
  callerAddress: CallerAddress;
}

/**
 * Identifies the caller by a token or key, else by a signature, else by the cookie of a session.
 *
 * @throws {Problem} unauthenticated, too-many-attempts, too-many-requests, foreign-origin, log-unavailable; as `admit`
 */
export function identify(c: HttpContext, services: CallerServices, admit: Admit): Caller | Promise<Caller> {
  const authorization = c.req.header('authorization');
  if (authorization !== undefined) return admitting(byToken(c, authorization, services), admit);
  if (c.req.header('signature-input') !== undefined) return bySignature(c, services, admit);
  const cookie = sessionCookie(c);
  if (cookie !== undefined) return admitting(bySession(c, cookie, services), admit);
  throw new Problem('unauthenticated', 'There is no credential. Send a token as "Authorization: Bearer <token>".');
}

/** How long an answer that does not depend on the caller waits for it: probes give up after one second. */
const PATIENCE_MS = 500;

/**
 * Identifies the caller of a route that needs no credential but shows some callers more. It returns null without a
 * valid credential, or if identifying takes too long, as when the identity provider does not answer. The request is
 * already counted for its address.
 */
export async function identifyIfAny(c: HttpContext, services: CallerServices): Promise<Caller | null> {
  try {
    const caller = identify(c, services, () => {});
    if (!(caller instanceof Promise)) return caller;
    return await Promise.race([caller.catch(() => null), sleep(PATIENCE_MS, null, { ref: false })]);
  } catch {
    return null;
  }
}

function admitting(caller: Caller | Promise<Caller>, admit: Admit): Caller | Promise<Caller> {
  if (caller instanceof Promise) return caller.then((known) => admitting(known, admit));
  admit(caller);
  return caller;
}

function bySignature(c: HttpContext, services: CallerServices, admit: Admit): Identity | Promise<Identity> {
  return verified(
    c,
    services,
    () => identifySigner(c, services, admit),
    () => claimedSigner(c),
  );
}

function byToken(c: HttpContext, header: string, services: CallerServices): Identity | Promise<Identity> {
  if (!header.startsWith('Bearer ') && !/^bearer /i.test(header)) {
    throw new Problem('unauthenticated', 'Authorization must have the form "Bearer <token>".');
  }
  const credential = header.slice('Bearer '.length).trim();
  return verified(
    c,
    services,
    () => services.verify(credential),
    () => parseKey(credential)?.id ?? subjectOf(credential),
  );
}

function bySession(c: HttpContext, cookie: string, services: CallerServices): Session | Promise<Session> {
  checkOrigin(c, services.publicUrl);
  return verified(
    c,
    services,
    () => services.sessions.verify(cookie),
    () => subjectOf(cookie),
  );
}

/** Verifies without a promise if the credential is cached. A refusal may be delayed. */
function verified<T extends Identity>(
  c: HttpContext,
  { signIns, callerAddress }: CallerServices,
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
