import canonicalize from 'canonicalize';
import type { Manifest } from './manifest.ts';
import type { VersionState } from './model.ts';

/** A version and the environments in which it is active. */
export type ComparedVersion = VersionState & { active_in: readonly string[] };

/** One field of the versions that are compared, such as `status`, `metrics.auc` or `files.model.joblib`. */
export interface ComparedField {
  /** The section of the manifest, a dot, and the name in that section, which may have dots too. */
  field: string;
  differs: boolean;
  /** By version; a version without the field is missing. A file has its digest and size, and its source if it has one. */
  values: Record<string, unknown>;
  /** Of a metric that the first version has: the other values minus the first. Missing if it is not a finite number. */
  difference?: Record<string, number>;
  /** Of a file that differs: what became of it since the first version, by version; missing where it is the same. */
  change?: Record<string, Change>;
}

export type Change = 'added' | 'removed' | 'changed';

/**
 * Compares versions field by field: sections in a fixed order, and in a section the names of the first version, then those
 * that only later versions have. The fields are computed one by one, as manifests may have many thousands: the caller can
 * stop, or let other work have its turn.
 *
 * @example [...compareFields([one, other])].filter(({ differs }) => differs).map(({ field }) => field)
 */
export function* compareFields(versions: readonly ComparedVersion[]): Generator<ComparedField> {
  for (const name of OWN_FIELDS) yield compared(name, versions, (version) => version[name]);
  yield compared('flavor', versions, ({ manifest }) => manifest.flavor);
  yield compared('signature', versions, ({ manifest }) => manifest.signature);
  for (const field of section(versions, 'metrics.', ({ metrics }) => metrics)) yield withDifference(field, versions);
  yield* section(versions, 'params.', ({ params }) => params);
  yield* section(versions, 'tags.', ({ tags }) => tags);
  yield* section(versions, 'requires.', ({ requires: { packages: _p, npm: _n, ...interpreters } }) => interpreters);
  yield* section(versions, 'requires.packages.', ({ requires }) => requires.packages ?? {});
  yield* section(versions, 'requires.npm.', ({ requires }) => requires.npm ?? {});
  yield* section(versions, 'lineage.', ({ lineage }) => lineage);
  for (const field of section(versions, 'files.', filesOf)) yield withChange(field, versions);
}

const OWN_FIELDS = [
  'status',
  'active_in',
  'notes',
  'published_at',
  'published_by',
  'revision',
  'manifest_digest',
] as const;

type Entries = Readonly<Record<string, unknown>>;

/** Compares the entries of one section of the manifests, by name. */
function* section(
  versions: readonly ComparedVersion[],
  prefix: string,
  entriesOf: (manifest: Manifest) => Entries,
): Generator<ComparedField> {
  const sections = new Map(versions.map((version) => [version, entriesOf(version.manifest)]));
  const all = [...sections.values()];
  for (const entries of all) {
    for (const name of Object.keys(entries)) {
      const isFirst = all.find((earlier) => Object.hasOwn(earlier, name)) === entries;
      if (isFirst) yield compared(prefix + name, versions, (version) => ownValue(sections.get(version)!, name));
    }
  }
}

/** A file or a metric may have the name of a property that every object inherits. */
function ownValue(entries: Entries, name: string): unknown {
  return Object.hasOwn(entries, name) ? entries[name] : undefined;
}

function filesOf({ artifacts }: Manifest): Entries {
  const sorted = artifacts.toSorted((a, b) => (a.path < b.path ? -1 : 1));
  return Object.fromEntries(sorted.map(({ path, ...file }) => [path, file]));
}

/** `undefined` stands for a missing value: JSON has none. */
function compared(
  field: string,
  versions: readonly ComparedVersion[],
  read: (version: ComparedVersion) => unknown,
): ComparedField {
  const values = versions.map((version) => [version.version, read(version)] as const);
  const differs = values.some(([, value]) => !isSame(value, values[0]![1]));
  return { field, differs, values: Object.fromEntries(values.filter(([, value]) => value !== undefined)) };
}

/** Compares as canonical JSON does: without the order of keys, and without the sign of 0. */
function isSame(one: unknown, other: unknown): boolean {
  if (one === other) return true;
  if (typeof one !== 'object' || typeof other !== 'object' || one === null || other === null) return false;
  return canonicalize(one) === canonicalize(other);
}

function withDifference(field: ComparedField, [first, ...others]: readonly ComparedVersion[]): ComparedField {
  const values = field.values as Record<string, number>;
  const from = values[first!.version];
  if (from === undefined) return field;
  const differences = others
    .filter(({ version }) => version in values)
    .map(({ version }) => [version, values[version]! - from] as const)
    .filter(([, difference]) => Number.isFinite(difference));
  return { ...field, difference: Object.fromEntries(differences) };
}

function withChange(field: ComparedField, [first, ...others]: readonly ComparedVersion[]): ComparedField {
  if (!field.differs) return field;
  const from = field.values[first!.version];
  const changes = others
    .map(({ version }) => [version, changeOf(from, field.values[version])] as const)
    .filter(([, change]) => change !== null);
  return { ...field, change: Object.fromEntries(changes) as Record<string, Change> };
}

function changeOf(from: unknown, to: unknown): Change | null {
  if (isSame(from, to)) return null;
  if (from === undefined) return 'added';
  return to === undefined ? 'removed' : 'changed';
}
