import type { AttributeGroup, Comparator, FieldName, FieldRef, Listing } from './filter.ts';

/** What a field's values are; decides its comparators and which literals it takes. */
export type FieldType = 'text' | 'number' | 'scalar' | 'version' | 'status' | 'time' | 'notes' | 'environment';

interface FieldInfo {
  type: FieldType;
  /** Of models only. */
  modelsOnly?: true;
  aliases?: string[];
  /** Further names in the listing of models. */
  modelAliases?: string[];
}

const FIELDS: Record<FieldName, FieldInfo> = {
  name: { type: 'text', modelsOnly: true, aliases: ['model'] },
  versions: { type: 'number', modelsOnly: true },
  version: { type: 'version', modelAliases: ['latest'] },
  status: { type: 'status' },
  environment: { type: 'environment' },
  flavor: { type: 'text' },
  publisher: { type: 'text', aliases: ['published_by'] },
  published_at: { type: 'time' },
  revision: { type: 'number' },
  manifest_digest: { type: 'text' },
  notes: { type: 'notes' },
  tags: { type: 'text', aliases: ['tag'] },
  params: { type: 'scalar', aliases: ['param'] },
  metrics: { type: 'number', aliases: ['metric'] },
};

const SETS = ['in', 'not in'] as const;
const EQUAL = ['=', '!='] as const;
const RANGES = ['<', '<=', '>', '>='] as const;
const LIKES = ['like', 'ilike'] as const;

/** The comparators of each type, in the order in which messages list them. */
const COMPARATORS: Record<FieldType, readonly Comparator[]> = {
  text: [...EQUAL, ...RANGES, ...LIKES, ...SETS],
  number: [...EQUAL, ...RANGES, ...SETS],
  scalar: [...EQUAL, ...RANGES, ...LIKES, ...SETS],
  version: [...EQUAL, ...RANGES, ...LIKES, ...SETS],
  status: [...EQUAL, ...SETS],
  time: [...EQUAL, ...RANGES],
  notes: ['contains', ...EQUAL, ...LIKES],
  environment: [...EQUAL, ...SETS],
};

export function typeOf({ name }: FieldRef): FieldType {
  return FIELDS[name].type;
}

export function comparatorsOf(field: FieldRef): readonly Comparator[] {
  return COMPARATORS[typeOf(field)];
}

export function isAttribute(field: FieldRef): field is Extract<FieldRef, { key: string }> {
  return 'key' in field;
}

export function isGroup(name: FieldName): name is AttributeGroup {
  return name === 'tags' || name === 'params' || name === 'metrics';
}

/** Returns the field that a word means in a listing, by its name or an alias; undefined if there is none. */
export function fieldNamed(word: string, listing: Listing): FieldName | undefined {
  return namesOf(listing).find((name) => {
    const { aliases = [], modelAliases = [] } = FIELDS[name];
    return [name, ...aliases, ...(listing === 'models' ? modelAliases : [])].includes(word);
  });
}

/** Returns the fields of a listing as a message lists them. */
export function fieldList(listing: Listing): string {
  return namesOf(listing)
    .map((name) => (isGroup(name) ? `${name}.<key>` : name))
    .join(', ');
}

function namesOf(listing: Listing): FieldName[] {
  const names = Object.keys(FIELDS) as FieldName[];
  return names.filter((name) => listing === 'models' || !FIELDS[name].modelsOnly);
}

/** Whether a listing can be ordered by a field. */
export function isOrderable({ name }: FieldRef): boolean {
  return name !== 'notes' && name !== 'environment';
}

export function sameField(a: FieldRef, b: FieldRef): boolean {
  return a.name === b.name && (isAttribute(a) ? a.key : null) === (isAttribute(b) ? b.key : null);
}
