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

/** What a caller is identified with. */
export interface CallerServices extends SigningServices {
  /** Verifies a token or an API key. */
  verify: VerifyToken;
  sessions: Sessions;
  signIns: SignIns;
  callerAddress: CallerAddress;
}

/**
 * The caller, by the credential that the request carries: a token or key, else a signature, else a session's cookie.
 *
 * @throws {Problem} unauthenticated, too-many-attempts, too-many-requests, foreign-origin, log-unavailable; as `admit`
 */
export function identify(c: HttpContext, services: CallerServices, admit: Admit): Caller | Promise<Caller> {
  const authorization = c.req.header('authorization');
  if (authorization !== undefined) return admitting(byToken(c, authorization, services), admit);
  if (c.req.header('signature-input') !== undefined) return bySignature(c, services, admit);
  const cookie = sessionCookie(c);
  if (cookie !== undefined) return admitting(bySession(c, cookie, services), admit);
  throw new Problem('unauthenticated', 'Send a token as "Authorization: Bearer <token>".');
}

/** How long an answer that needs no caller waits to know the caller: probes give up after a second. */
const PATIENCE_MS = 500;

/**
 * The caller, for routes that answer everybody and show some callers more; null without a valid credential, or where it is not
 * known in time, such as while the identity provider does not answer. The request was counted for its address.
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

/** Without a promise where there is none. */
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

function bySession(c: HttpContext, cookie: string, services: CallerServices): Session | Promise<Session> {
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
