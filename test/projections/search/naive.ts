import { compareVersions } from '../../../src/domain/versions.ts';
import { isAttribute, typeOf } from '../../../src/search/fields.ts';
import type { Comparison, FieldRef, Filter, OrderTerm, Value } from '../../../src/search/filter.ts';
import { periodOf } from '../../../src/search/moment.ts';
import type { Version } from './read-model.ts';

/** An entry of a listing as plain data; without a version, a model whose versions are all archived. */
export interface Entry {
  version: Version | null;
  /** The environments in which the version is active. */
  active: string[];
  model?: { name: string; revision: number; versions: number };
}

/** Whether an entry meets a filter: the definition of the language, without a database. */
export function meets(filter: Filter, entry: Entry): boolean {
  if (filter.kind === 'comparison') return compare(filter, entry);
  if (filter.kind === 'not') return !meets(filter.term, entry);
  if (filter.kind === 'and') return filter.terms.every((term) => meets(term, entry));
  return filter.terms.some((term) => meets(term, entry));
}

/** Returns the value of a field; null if the entry does not have it. */
export function valueAt(field: FieldRef, { version, model }: Entry): Value | null {
  if (isAttribute(field)) return version?.attributes[`${field.name}.${field.key}`] ?? null;
  if (field.name === 'name') return model!.name;
  if (field.name === 'versions') return model!.versions;
  if (field.name === 'revision' && model) return model.revision;
  if (version === null) return null;
  if (field.name === 'publisher') return version.published_by;
  return version[
    field.name as 'version' | 'revision' | 'status' | 'flavor' | 'notes' | 'manifest_digest' | 'published_at'
  ];
}

function compare(comparison: Comparison, entry: Entry): boolean {
  const { field, comparator, values } = comparison;
  if (field.name === 'environment') {
    const active = values.some((name) => entry.active.includes(String(name)));
    return entry.version !== null && active === (comparator === '=' || comparator === 'in');
  }
  const found = valueAt(field, entry);
  if (found === null) return false;
  if (field.name === 'published_at') return comparePeriod(Number(found), comparison);
  const equal = values.some((value) => sameValue(found, value, typeOf(field) === 'scalar'));
  switch (comparator) {
    case '=':
    case 'in':
      return equal;
    case '!=':
    case 'not in':
      return !equal;
    case 'like':
    case 'ilike':
      return typeof found === 'string' && likeness(String(values[0]), comparator === 'ilike').test(found);
    case 'contains':
      return hasWords(String(found), String(values[0]));
    default:
      return typeof found === typeof values[0] && inRange(sign(found, values[0]!, field), comparator);
  }
}

function sameValue(found: Value, value: Value, anySpelling: boolean): boolean {
  return found === value || (anySpelling && typeof found !== typeof value && String(found) === String(value));
}

function inRange(order: number, comparator: string): boolean {
  if (order === 0) return comparator.includes('=');
  return comparator.startsWith(order < 0 ? '<' : '>');
}

function comparePeriod(at: number, { comparator, values }: Comparison): boolean {
  const { from, until } = periodOf(String(values[0]))!;
  const order = at < from ? -1 : at < until ? 0 : 1;
  return comparator === '!=' ? order !== 0 : inRange(order, comparator);
}

function likeness(pattern: string, ignoreCase: boolean): RegExp {
  const source = pattern
    .replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')
    .replaceAll('%', '.*')
    .replaceAll('_', '.');
  return new RegExp(`^${source}$`, ignoreCase ? 'isu' : 'su');
}

function hasWords(notes: string, words: string): boolean {
  const found = notes.toLowerCase().split(/\W+/);
  return words
    .toLowerCase()
    .split(' ')
    .every((word) => found.includes(word));
}

/** Numbers before texts; texts by their bytes; versions by precedence. */
function sign(a: Value, b: Value, field: FieldRef): number {
  if (field.name === 'version') return compareVersions(String(a), String(b));
  if (typeof a === 'number' && typeof b === 'number') return Math.sign(a - b);
  if (typeof a !== typeof b) return typeof a === 'number' ? -1 : 1;
  return Buffer.compare(Buffer.from(String(a)), Buffer.from(String(b)));
}

/** Compares entries by an order; 0 if only the tie-break can tell. */
export function inOrder(order: OrderTerm[], a: Entry, b: Entry): number {
  for (const { field, descending } of order) {
    const [x, y] = [valueAt(field, a), valueAt(field, b)];
    if (x === y) continue;
    if (x === null || y === null) return x === null ? 1 : -1;
    const result = sign(x, y, field);
    if (result !== 0) return descending ? -result : result;
  }
  return 0;
}
