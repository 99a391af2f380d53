import { moveView, versionView } from '../../api/views.ts';
import type { Caller, Outcome } from '../../commands/dispatch.ts';
import { Problem } from '../../domain/errors.ts';
import type { Reply, Request } from '../server/route.ts';
import type { Services } from '../services.ts';

/** What the log line of a command says besides the request. */
export function logOf({ event, stored, revision }: Outcome): Record<string, unknown> {
  if (!event) return {};
  const version = 'version' in event.data ? event.data.version : undefined;
  const environment = 'environment' in event.data ? event.data.environment : undefined;
  return { event_type: event.type, version, environment, ...(stored && { revision }) };
}

/** @throws {Problem} invalid-request for a key that is none */
export function callerOf({ c, actor, request_id }: Request<unknown, unknown, unknown>): Caller {
  const header = c.req.header('idempotency-key');
  if (header === undefined) return { actor, request_id };
  // draft-ietf-httpapi-idempotency-key-header has it as a quoted string; most clients send it bare.
  const key = header.replace(/^"(.*)"$/, '$1');
  if (/^[\x21-\x7e]{1,255}$/.test(key)) return { actor, request_id, idempotency_key: key };
  throw new Problem('invalid-request', 'Idempotency-Key must be 1 to 255 printable characters without spaces.');
}

/** Answers a command that moves an environment, once the move shows on the volume. */
export async function moveReply(outcome: Outcome, dry_run: boolean, services: Services): Promise<Reply> {
  const { model, event, revision } = outcome;
  if (event?.data === undefined || !('previous' in event.data)) throw new TypeError(`${event?.type} moves nothing`);
  if (outcome.stored) await services.settled(model.name);
  const warnings = [...outcome.warnings, ...(outcome.stored ? services.volumeProblems(model.name) : [])];
  const json = moveView(model, event as Parameters<typeof moveView>[1], { revision, warnings, dry_run });
  return { json, log: { ...logOf(outcome), dry_run: dry_run || undefined } };
}

/** Answers a command that changes a version with the version. */
export async function versionReply(outcome: Outcome, version: string, services: Services): Promise<Reply> {
  const { model } = outcome;
  if (outcome.stored) await services.settled(model.name);
  return { json: versionView(model, model.versions.get(version)!), log: { version, ...logOf(outcome) } };
}
