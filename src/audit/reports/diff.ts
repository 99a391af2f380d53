import { isDeepStrictEqual } from 'node:util';
import type { Replay } from '../replay.ts';
import { type AuditEvent, isMove } from '../rules/event.ts';
import type { Manifest } from '../rules/manifest.ts';
import { activeIn, type ModelState } from '../rules/state.ts';

/** One difference between two moments. `before` and `after` are null if there was no value. */
export interface Change {
  model: string;
  what: 'version' | 'status' | 'notes' | 'active' | 'manifest' | 'runtime';
  /** The version or environment that changed; for a manifest, the environment whose active version has it. */
  of: string;
  /** For a manifest, the field that changed; `artifacts/model.joblib` for a file. */
  field: string | null;
  before: unknown;
  after: unknown;
  /** For `active`: the number of moves of the environment. `by` and `revision` are those of the last move. */
  moves: number | null;
  by: string | null;
  revision: number | null;
}

/** Counts the moves of each environment. */
export function moveCounter() {
  const counts = new Map<string, number>();
  return {
    count(event: AuditEvent): void {
      if (!isMove(event)) return;
      const place = `${event.model} ${event.data.environment}`;
      counts.set(place, (counts.get(place) ?? 0) + 1);
    },
    of: (model: string, environment: string) => counts.get(`${model} ${environment}`) ?? 0,
  };
}

/** Returns the changes from `a` to `b`, sorted by model. With `environment`, only those of that environment. */
export function changesBetween(
  a: Replay,
  b: Replay,
  moves: (model: string, environment: string) => number,
  environment?: string,
): Change[] {
  const sorted = [...b.models.values()].sort((x, y) => (x.name < y.name ? -1 : 1));
  return sorted.flatMap((after) => {
    const before = a.models.get(after.name) ?? null;
    const environments = [...after.environments.keys()].filter(
      (name) => environment === undefined || name === environment,
    );
    return [
      ...(environment === undefined ? versionChanges(before, after) : []),
      ...environments.flatMap((name) => environmentChanges(before, after, name, moves(after.name, name))),
    ];
  });
}

function versionChanges(before: ModelState | null, after: ModelState): Change[] {
  const changes: Change[] = [];
  const add = (what: Change['what'], of: string, was: unknown, is: unknown, made: Partial<Change> = {}) =>
    changes.push({ ...change(after, what, of, was, is), ...made });
  for (const { version, status, notes, published_by: by, revision } of after.versions.values()) {
    const then = before?.versions.get(version);
    if (!then) add('version', version, null, 'published', { by, revision });
    const was = then ?? { status: 'ready', notes: '' };
    if (was.status !== status) add('status', version, was.status, status);
    if (was.notes !== notes) add('notes', version, was.notes, notes);
  }
  return changes;
}

function environmentChanges(before: ModelState | null, after: ModelState, name: string, moves: number): Change[] {
  const was = before?.environments.get(name);
  const is = after.environments.get(name)!;
  const changes: Change[] = [];
  if (!isDeepStrictEqual(was?.runtime ?? null, is.runtime)) {
    changes.push(change(after, 'runtime', name, was?.runtime ?? null, is.runtime));
  }
  const [from, to] = [before ? activeIn(before, name) : null, activeIn(after, name)];
  if (moves === 0) return changes;
  const { by, revision } = is.moved!;
  changes.push({ ...change(after, 'active', name, from, to), moves, by, revision });
  if (from === null || to === null || from === to) return changes;
  const fields = manifestChanges(after.versions.get(from)!.manifest, after.versions.get(to)!.manifest);
  return [...changes, ...fields.map(([field, x, y]) => ({ ...change(after, 'manifest', name, x, y), field }))];
}

function change(
  { name: model }: ModelState,
  what: Change['what'],
  of: string,
  before: unknown,
  after: unknown,
): Change {
  return { model, what, of, field: null, before, after, moves: null, by: null, revision: null };
}

type FieldChange = [field: string, before: unknown, after: unknown];

/** Returns the fields in which two manifests differ, down to single values. A file's digest, size and source are one value. */
function manifestChanges(before: Manifest, after: Manifest): FieldChange[] {
  const [a, b] = [fieldsOf(before), fieldsOf(after)];
  const names = [...new Set([...a.keys(), ...b.keys()])].sort();
  return names
    .map((name): FieldChange => [name, a.get(name) ?? null, b.get(name) ?? null])
    .filter(([, was, is]) => was !== is);
}

function fieldsOf({ artifacts, ...rest }: Manifest): Map<string, unknown> {
  const fields = new Map<string, unknown>();
  for (const { path, digest, size, source } of artifacts) {
    fields.set(`artifacts/${path}`, `${digest}, ${size} bytes${source === undefined ? '' : `, ${source}`}`);
  }
  leaves('', rest, fields);
  return fields;
}

/** Recursion is safe: `checkManifest` limits manifests to a hundred levels. */
function leaves(path: string, value: unknown, into: Map<string, unknown>): void {
  if (typeof value !== 'object' || value === null) return void into.set(path, value);
  for (const [name, child] of Object.entries(value)) leaves(path === '' ? name : `${path}.${name}`, child, into);
}
