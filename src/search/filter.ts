// What a filter and an order are once they are parsed: plain data, with every name, type and limit checked.

export type Comparator = '=' | '!=' | '<' | '<=' | '>' | '>=' | 'like' | 'ilike' | 'in' | 'not in' | 'contains';
export type Value = string | number;

/** A field by its name, or a tag, param or metric by its key. */
export type FieldRef = { name: Exclude<FieldName, AttributeGroup> } | { name: AttributeGroup; key: string };
export type AttributeGroup = 'tags' | 'params' | 'metrics';
export type FieldName =
  | AttributeGroup
  | 'name'
  | 'version'
  | 'versions'
  | 'revision'
  | 'status'
  | 'flavor'
  | 'publisher'
  | 'published_at'
  | 'manifest_digest'
  | 'notes'
  | 'environment';

/** One comparison. There is one value, but for `in` and `not in`, which have at least one. */
export interface Comparison {
  kind: 'comparison';
  field: FieldRef;
  comparator: Comparator;
  values: Value[];
}

export interface Combination {
  kind: 'and' | 'or';
  /** At least two. */
  terms: Filter[];
}

export interface Negation {
  kind: 'not';
  term: Filter;
}

export type Filter = Comparison | Combination | Negation;

export interface OrderTerm {
  field: FieldRef;
  descending: boolean;
}

/** What is listed: the versions of a model, or models with the fields of their latest version. */
export type Listing = 'versions' | 'models';
