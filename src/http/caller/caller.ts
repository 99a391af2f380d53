import type { Identity } from '../../access/policy.ts';
import type { Session } from '../../access/sessions.ts';

/** The caller of a request; a session if the credential is a browser's cookie. */
export type Caller = Identity | Session;

/** The caller of a route that needs no permission. */
export const ANONYMOUS: Caller = { actor: 'anonymous', role: null, groups: [] };

/**
 * Called once with the caller, after the credential is verified and before anything is stored for the request. If it
 * throws, the request is refused.
 */
export type Admit = (caller: Caller) => void;
