import type { Identity } from '../../access/policy.ts';
import type { Session } from '../../access/sessions.ts';

/** The caller of a request; a session if the credential was a browser's cookie. */
export type Caller = Identity | Session;

/**
 * Called once with the caller, as soon as the credential is verified and before anything is stored for the request.
 * An error that it throws refuses the request.
 */
export type Met = (caller: Caller) => void;
