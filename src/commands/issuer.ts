import type { Identity } from '../access/policy.ts';

/** The caller that gives a command, and the ids of the request. */
export interface Issuer {
  identity: Identity;
  request_id: string;
  idempotency_key?: string | undefined;
  /** A part of the registry, such as discovery: permissions and callers' limits do not apply. */
  internal?: true;
}

/** A part of the registry as an issuer; `name` is the actor of its events. */
export function internalIssuer(name: string, request_id: string): Issuer {
  return { identity: { actor: name, role: null, groups: [] }, request_id, internal: true };
}
