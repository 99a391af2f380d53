import { Violation } from '../finding.ts';
import { checkManifest } from './manifest.ts';

type Fields = Record<string, unknown>;
type Test = (value: unknown) => boolean;
type Shape = Readonly<Record<string, Test>>;

const NAME = /^[a-z0-9][a-z0-9_-]{0,62}$/;

const text: Test = (value) => typeof value === 'string';
const textOrNull: Test = (value) => value === null || typeof value === 'string';
const flag: Test = (value) => typeof value === 'boolean';
const optional =
  (test: Test): Test =>
  (value) =>
    value === undefined || test(value);
const listOf =
  (test: Test): Test =>
  (value) =>
    Array.isArray(value) && value.every(test);
const revisions: Test = (value) => listOf(Number.isSafeInteger as Test)(value) && (value as unknown[]).length > 0;
const texts: Test = (value) => isObject(value) && Object.values(value).every(text);

const moving = { environment: isName, previous: textOrNull };

const publication = { version: text, manifest: isObject, manifest_digest: text, notes: text };

/** The event types that the audit reads. */
export interface Types {
  /** By type: the fields of its data in each version, the oldest first. Unknown fields are allowed. */
  shapes: Readonly<Record<string, readonly Shape[]>>;
  /** By type and version N, such as `notes.changed.v1`: the step from the data of version N to that of N + 1. */
  steps: Readonly<Record<string, (data: Fields) => Fields>>;
}

const types: Types = {
  shapes: {
    'version.published': [publication, { ...publication, verified: optional(listOf(isVerified)) }],
    'version.activated': [
      { ...moving, reason: textOrNull, version: text, runtime_checked: flag, forced: optional(flag) },
    ],
    'version.rolled_back': [
      {
        ...moving,
        reason: text,
        version: textOrNull,
        reverts: revisions,
        runtime_checked: flag,
        overridden: optional(listOf((value) => value === 'runtime')),
      },
    ],
    'version.deactivated': [{ ...moving, reason: text, version: (value) => value === null }],
    'version.archived': [{ version: text, reason: textOrNull }],
    'version.restored': [{ version: text, reason: textOrNull }],
    'notes.changed': [{ version: text, notes: text }],
    'runtime.declared': [{ environment: isName, runtime: isRuntime }],
  },
  // Version 2 allows a `source` in the manifest, which older servers refuse.
  steps: { 'version.published.v1': (data) => data },
};

/**
 * Returns the data of an event in the newest version of its type; null if the type or the version is unknown.
 *
 * @throws {Violation} if the data does not have the shape of the version in which it was written
 */
export function readData(type: string, version: number, written: unknown, { shapes, steps } = types): Fields | null {
  const versions = Object.hasOwn(shapes, type) ? shapes[type]! : [];
  const shape = versions[version - 1];
  if (!shape) return null;
  let data = checked(written, shape);
  if (type === 'version.published') checkManifest(data.manifest as Fields, data.manifest_digest as string);
  for (let v = version; v < versions.length; v++) data = checked(steps[`${type}.v${v}`]!(data), versions[v]!);
  return data;
}

function checked(data: unknown, shape: Shape): Fields {
  if (!isObject(data)) throw new Violation('shape', 'Its data is not an object.');
  for (const [field, test] of Object.entries(shape)) if (!test(data[field])) throw wrong(data, field);
  // Every event has it, in every version.
  if (!isObject(data.active)) throw wrong(data, 'active');
  return data;
}

function wrong(data: Fields, field: string): Violation {
  return new Violation('shape', `Its data’s ${field} is wrong or missing.`, null, data[field] ?? null);
}

/** Whether it is the name of a model or an environment. */
export function isName(value: unknown): boolean {
  return typeof value === 'string' && NAME.test(value);
}

export function isObject(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isVerified(value: unknown): boolean {
  return isObject(value) && text(value.source) && textOrNull(value.etag);
}

function isRuntime(value: unknown): boolean {
  if (!isObject(value)) return false;
  const known: Record<string, Test> = { python: text, packages: texts, node: text, npm: texts };
  return Object.entries(value).every(([field, stated]) => Object.hasOwn(known, field) && known[field]!(stated));
}
