import { Misfit } from '../finding.ts';
import { checkManifest } from './manifest.ts';

type Fields = Record<string, unknown>;
type Test = (value: unknown) => boolean;

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

/** The fields of each type's data. Others may be there: a newer writer may say more. */
const shapes: Record<string, Record<string, Test>> = {
  'version.published': { version: text, manifest: isObject, manifest_digest: text, notes: text },
  'version.activated': { ...moving, reason: textOrNull, version: text, runtime_checked: flag, forced: optional(flag) },
  'version.rolled_back': {
    ...moving,
    reason: text,
    version: textOrNull,
    reverts: revisions,
    runtime_checked: flag,
    overridden: optional(listOf((value) => value === 'runtime')),
  },
  'version.deactivated': { ...moving, reason: text, version: (value) => value === null },
  'version.archived': { version: text, reason: textOrNull },
  'version.restored': { version: text, reason: textOrNull },
  'notes.changed': { version: text, notes: text },
  'runtime.declared': { environment: isName, runtime: isRuntime },
};
const fields = new Map(
  Object.entries(shapes).map(([type, tests]) => [type, Object.entries({ ...tests, active: isObject })]),
);

/** Whether the type is known. @throws {Misfit} where it is, and the data has another shape */
export function checkData(type: string, data: unknown): boolean {
  const tests = fields.get(type);
  if (!tests) return false;
  if (!isObject(data)) throw new Misfit('shape', 'Its data is no object.');
  for (const [field, test] of tests) {
    if (!test(data[field]))
      throw new Misfit('shape', `Its data’s ${field} is wrong or missing.`, null, data[field] ?? null);
  }
  if (type === 'version.published') checkManifest(data.manifest as Fields, data.manifest_digest as string);
  return true;
}

/** Of a model or an environment. */
export function isName(value: unknown): boolean {
  return typeof value === 'string' && NAME.test(value);
}

export function isObject(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isRuntime(value: unknown): boolean {
  if (!isObject(value)) return false;
  const known: Record<string, Test> = { python: text, packages: texts, node: text, npm: texts };
  return Object.entries(value).every(([field, said]) => Object.hasOwn(known, field) && known[field]!(said));
}
