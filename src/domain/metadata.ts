import { z } from 'zod';
import { constraintFrom, packageName, Requires } from './requires.ts';

/** Files beside a model that describe its training, in order of preference. */
export const METADATA_FILES = ['training_metadata.json', 'metadata.json'] as const;

const Fields = z.record(z.string(), z.unknown());
type Fields = z.infer<typeof Fields>;

const PYTHON = ['python', 'python_version'];
const PACKAGES: Record<string, string[]> = {
  'scikit-learn': ['sklearn', 'scikit-learn', 'sklearn_version'],
  joblib: ['joblib', 'joblib_version'],
};

/**
 * Returns the runtime constraints in metadata documents, for a manifest that has none. They come from `requires`, in the
 * manifest's own form, and from installed versions, which become "same minor release". The first document takes precedence.
 */
export function requiresFromMetadata(documents: unknown[]): Requires {
  const stated = documents.map((document) => Requires.safeParse(Fields.safeParse(document).data?.requires).data ?? {});
  return mergeRequires(...stated, requiresFromFacts(documents));
}

/** Installed versions are at the top level or under `runtime`, `environment` or `versions`. */
function requiresFromFacts(documents: unknown[]): Requires {
  const places = documents.flatMap(factPlaces);
  const find = (names: string[]) => firstConstraint(places, names);
  const packages: Record<string, string> = {};
  for (const [name, spellings] of Object.entries(PACKAGES)) {
    const constraint = find(spellings);
    if (constraint !== null) packages[name] = constraint;
  }
  const python = find(PYTHON);
  return {
    ...(python !== null && { python }),
    ...(Object.keys(packages).length > 0 && { packages }),
  };
}

function factPlaces(document: unknown): Fields[] {
  const top = Fields.safeParse(document).data;
  if (!top) return [];
  const nested = ['runtime', 'environment', 'versions'].map((key) => Fields.safeParse(top[key]).data);
  return [top, ...nested.filter((fields) => fields !== undefined)];
}

function firstConstraint(places: Fields[], names: string[]): string | null {
  for (const place of places) {
    for (const name of names) {
      const text = place[name];
      const constraint = typeof text === 'string' ? constraintFrom(text) : null;
      if (constraint !== null) return constraint;
    }
  }
  return null;
}

// No two parts may match the same characters (backtracking): the server also reads files that others wrote.
const REQUIREMENT = /^([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^\]]*\]\s*)?([~=<>!][^;]*)$/;

/**
 * Returns the pinned and ranged packages of a `requirements.txt`, with or without hashes. Ignores options, URLs, names
 * without a version, and lines with an environment marker, which may not apply here.
 */
export function requiresFromRequirements(text: string): Requires {
  const packages: Record<string, string> = {};
  for (const line of text.split(/\r?\n/)) {
    const requirement = line.replace(/(^|\s)(#|--|\\).*$/, '');
    const found = REQUIREMENT.exec(requirement.trim());
    const pin = /^==\s*([^=*,\s]+)\s*$/.exec(found?.[2] ?? '')?.[1];
    const constraint = found && constraintFrom(pin ?? found[2]!.trim());
    if (constraint) packages[packageName(found[1]!)] = constraint;
  }
  return Object.keys(packages).length > 0 ? { packages } : {};
}

/** Merges constraints. The first source that names a package wins, in any spelling of its name. */
export function mergeRequires(...sources: Requires[]): Requires {
  const merged: Requires = {};
  for (const source of sources.toReversed()) {
    const named = new Set(Object.keys(source.packages ?? {}).map(packageName));
    const others = Object.entries(merged.packages ?? {}).filter(([name]) => !named.has(packageName(name)));
    const packages = { ...Object.fromEntries(others), ...source.packages };
    Object.assign(merged, source);
    if (Object.keys(packages).length > 0) merged.packages = packages;
  }
  return merged;
}
