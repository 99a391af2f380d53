import { moveView, versionView } from '../../api/views.ts';
import type { Issuer } from '../../commands/issuer.ts';
import { afterStoring, type Outcome } from '../../commands/outcome.ts';
import { checkView } from '../../commands/rules/check.ts';
import { Problem } from '../../domain/errors.ts';
import { isMove } from '../../domain/events.ts';
import type { Reply, Request } from '../server/route.ts';
import type { Services } from '../services.ts';

/** The fields of a command's log line, besides those of the request. */
export function logOf({ event, stored, revision }: Outcome): Record<string, unknown> {
  if (!event) return {};
  const version = 'version' in event.data ? event.data.version : undefined;
  const environment = 'environment' in event.data ? event.data.environment : undefined;
  return { event_type: event.type, version, environment, ...(stored && { revision }) };
}

/** @throws {Problem} invalid-request if the Idempotency-Key header is not valid */
export function issuerOf({ c, identity, request_id }: Request<unknown, unknown, unknown>): Issuer {
  const header = c.req.header('idempotency-key');
  if (header === undefined) return { identity, request_id };
  // draft-ietf-httpapi-idempotency-key-header has it as a quoted string; most clients send it bare.
  const key = header.replace(/^"(.*)"$/, '$1');
  if (/^[\x21-\x7e]{1,255}$/.test(key)) return { identity, request_id, idempotency_key: key };
  throw new Problem('invalid-request', 'Idempotency-Key must be 1 to 255 printable characters without spaces.');
}

/** Answers a command that moves an environment, when the volume shows the move. A dry run lists its checks. */
export async function moveReply(outcome: Outcome, dry_run: boolean, services: Services): Promise<Reply> {
  const { model, event, revision } = outcome;
  if (event === null || !isMove(event)) throw new TypeError(`${event?.type} does not move an environment`);
  if (outcome.stored) await services.settled(model.name);
  const warnings = [...outcome.warnings, ...(outcome.stored ? services.volumeProblems(model.name) : [])];
  const checks = dry_run ? { checks: outcome.checks.map(checkView) } : {};
  const json = moveView(model, event, { revision, warnings, dry_run, ...checks });
  return { json, log: { ...logOf(outcome), dry_run: dry_run || undefined } };
}

/** Answers a command that changes a version with the version. */
export async function versionReply(outcome: Outcome, version: string, services: Services): Promise<Reply> {
  const { model, stored } = outcome;
  if (stored) await services.settled(model.name);
  const read = () => versionView(model, model.version(version)!);
  return { json: stored ? afterStoring(read) : read(), log: { version, ...logOf(outcome) } };
}
