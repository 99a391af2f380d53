import { z } from 'zod';
import { constraintFrom, packageName, Requires } from './requires.ts';

/** The files beside a model that say how it was trained, the more telling first. */
export const METADATA_FILES = ['training_metadata.json', 'metadata.json'] as const;

const Fields = z.record(z.string(), z.unknown());
type Fields = z.infer<typeof Fields>;

const PYTHON = ['python', 'python_version'];
const PACKAGES: Record<string, string[]> = {
  'scikit-learn': ['sklearn', 'scikit-learn', 'sklearn_version'],
  joblib: ['joblib', 'joblib_version'],
};

/**
 * What metadata documents say about the runtime, for a manifest that says nothing: `requires` in the manifest's own shape,
 * and facts, which become "same minor release"; the first document that names something wins.
 */
export function requiresFromMetadata(documents: unknown[]): Requires {
  const stated = documents.map((document) => Requires.safeParse(Fields.safeParse(document).data?.requires).data ?? {});
  return mergeRequires(...stated, requiresFromFacts(documents));
}

/** Facts stand at the top or under `runtime`, `environment` or `versions`. */
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

// Nothing here may match the same characters in two ways: a folder's files are read by the server, too.
const REQUIREMENT = /^([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^\]]*\]\s*)?([~=<>!][^;]*)$/;

/**
 * Pinned and ranged packages of a `requirements.txt`, with or without hashes. Options, URLs and bare names say nothing,
 * nor do lines with a marker, which may not hold here.
 */
export function requiresFromRequirements(text: string): Requires {
  const packages: Record<string, string> = {};
  for (const line of text.split(/\r?\n/)) {
    const said = line.replace(/(^|\s)(#|--|\\).*$/, '');
    const found = REQUIREMENT.exec(said.trim());
    const pin = /^==\s*([^=*,\s]+)\s*$/.exec(found?.[2] ?? '')?.[1];
    const constraint = found && constraintFrom(pin ?? found[2]!.trim());
    if (constraint) packages[packageName(found[1]!)] = constraint;
  }
  return Object.keys(packages).length > 0 ? { packages } : {};
}

/** The first source that names something wins, whatever its spelling: `sources` in the order of their weight. */
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
