import { Violation } from '../finding.ts';
import { type AuditEvent, isMove, type Pointer } from './event.ts';
import { activeIn, type ModelState } from './state.ts';

/**
 * Checks the `active` map of an event against the state after the event. It must have every known environment, and for
 * each active version its digest, the revision that published it and the revision that made it active.
 *
 * @throws {Violation}
 */
export function checkActive(model: ModelState, event: AuditEvent): void {
  const { active } = event.data;
  const moved = isMove(event) ? event.data.environment : null;
  for (const name of Object.keys(active)) {
    checkEntry(name, active[name], moved === name ? movedPointer(model, event) : unchangedPointer(model, name));
  }
  if (moved !== null && !Object.hasOwn(active, moved)) throw missing(moved);
  for (const name of model.environments.keys()) if (!Object.hasOwn(active, name)) throw missing(name);
}

/** The pointer to the version that the event makes active has no revision: it is the event's own. */
function movedPointer(model: ModelState, event: AuditEvent): Pointer | null {
  const { version } = event.data as { version: string | null };
  return version === null ? null : pointerTo(model, version);
}

function unchangedPointer(model: ModelState, name: string): Pointer | null {
  const version = activeIn(model, name);
  if (version === null) return null;
  return { ...pointerTo(model, version), revision: model.environments.get(name)!.moved!.revision };
}

function pointerTo(model: ModelState, version: string): Pointer {
  const { manifest_digest, revision: published_revision } = model.versions.get(version)!;
  return { version, manifest_digest, published_revision };
}

function checkEntry(name: string, actual: Pointer | null | undefined, expected: Pointer | null): void {
  const isEqual =
    actual === null || typeof actual !== 'object' || expected === null
      ? actual === expected
      : actual.version === expected.version &&
        actual.manifest_digest === expected.manifest_digest &&
        actual.published_revision === expected.published_revision &&
        actual.revision === expected.revision;
  if (!isEqual) throw new Violation('active', `Its active map is wrong for ${name}.`, expected, actual);
}

function missing(name: string): Violation {
  return new Violation('active', `Its active map has no entry for ${name}.`);
}
