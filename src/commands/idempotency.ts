import canonicalize from 'canonicalize';
import { sha256Hex } from '../domain/digest.ts';
import { Problem } from '../domain/errors.ts';
import type { Model } from '../domain/model.ts';
import { decodeEvent } from '../log/codec.ts';
import type { Nats } from '../log/connection.ts';
import { readNext } from '../log/read.ts';
import type { Issuer } from './issuer.ts';
import type { Outcome } from './outcome.ts';

/** Returns the digest that tells whether a command under the same key is the same command. @throws {Problem} invalid-request */
export function hashOf(command: string, model: string, input: object): string {
  try {
    return sha256Hex(canonicalize([command, model, input])!);
  } catch (cause) {
    // RFC 8785 has no form for text that is not valid Unicode, and the log cannot store it either.
    throw new Problem('invalid-request', 'The request holds text that is not well-formed Unicode.', {}, cause);
  }
}

/**
 * Returns the outcome of the same command under the same idempotency key, read from its event; null if there is none.
 *
 * @throws {Problem} idempotency-key-reused, log-unavailable
 */
export async function earlierOutcome(
  nats: Nats,
  model: Model,
  { identity, idempotency_key }: Issuer,
  command_hash: string,
): Promise<Outcome | null> {
  if (idempotency_key === undefined) return null;
  const earlier = model.outcome(identity.actor, idempotency_key);
  if (!earlier) return null;
  if (earlier.command_hash !== command_hash) {
    throw new Problem('idempotency-key-reused', 'The idempotency key was used before, for another command.');
  }
  const message = await readNext(nats, model.name, earlier.revision - 1).catch((cause: unknown) => {
    const detail = 'The earlier outcome cannot be read from the log now; try again.';
    throw new Problem('log-unavailable', detail, {}, cause);
  });
  const { event } = decodeEvent(message!.body);
  return { model, event, revision: earlier.revision, stored: false, warnings: [], checks: [] };
}
