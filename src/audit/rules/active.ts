import { Misfit } from '../finding.ts';
import { type AuditEvent, isMove, type Pointer } from './event.ts';
import { activeIn, type ModelState } from './state.ts';

/**
 * Holds the map that an event carries against what must be active after it: each environment that was ever heard of is
 * in it, and each version in it with its digest, the revision that published it and the one that made it active.
 *
 * @throws {Misfit}
 */
export function checkActive(model: ModelState, event: AuditEvent): void {
  const { active } = event.data;
  const moved = isMove(event) ? event.data.environment : null;
  for (const name of Object.keys(active)) {
    checkEntry(name, active[name], moved === name ? movedPointer(model, event) : standing(model, name));
  }
  if (moved !== null && !Object.hasOwn(active, moved)) throw missing(moved);
  for (const name of model.environments.keys()) if (!Object.hasOwn(active, name)) throw missing(name);
}

/** Without a revision: that is the event's own. */
function movedPointer(model: ModelState, event: AuditEvent): Pointer | null {
  const { version } = event.data as { version: string | null };
  return version === null ? null : pointerTo(model, version);
}

function standing(model: ModelState, name: string): Pointer | null {
  const version = activeIn(model, name);
  if (version === null) return null;
  return { ...pointerTo(model, version), revision: model.environments.get(name)!.moved!.revision };
}

function pointerTo(model: ModelState, version: string): Pointer {
  const { manifest_digest, revision: published_revision } = model.versions.get(version)!;
  return { version, manifest_digest, published_revision };
}

function checkEntry(name: string, said: Pointer | null | undefined, expected: Pointer | null): void {
  const fits =
    said === null || typeof said !== 'object' || expected === null
      ? said === expected
      : said.version === expected.version &&
        said.manifest_digest === expected.manifest_digest &&
        said.published_revision === expected.published_revision &&
        said.revision === expected.revision;
  if (!fits) throw new Misfit('active', `Its active map is wrong about ${name}.`, expected, said);
}

function missing(name: string): Misfit {
  return new Misfit('active', `Its active map says nothing of ${name}.`);
}
