import type { FieldRef, Listing } from '../../search/filter.ts';
import type { Connection } from '../read-model/connection.ts';
import { rowOf, type Sql, sql } from './sql.ts';

/**
 * What a query is about. Its SQL calls the row of `version` v and, in the listing of models, the row of `model` m; there, v
 * is the model's latest version, and all of its columns are NULL if there is none.
 */
export interface Scope {
  listing: Listing;
  /** The id of the model: a parameter in the listing of its versions, a column in that of models. */
  model: Sql;
  /** The id of a tag, param or metric; 0, which is none, if no version ever had it. */
  keyId(field: Extract<FieldRef, { key: string }>): number;
}

/** Returns the scope of the versions of a model, by its id, or of all models. */
export function scopeOf(db: Connection, model: number | null): Scope {
  const ids = new Map<string, number>();
  const keyId: Scope['keyId'] = ({ name, key }) => {
    const full = `${name}.${key}`;
    const id =
      ids.get(full) ?? rowOf<{ id: number }>(db, sql`SELECT id FROM attribute_key WHERE name = ${full}`)?.id ?? 0;
    ids.set(full, id);
    return id;
  };
  return model === null
    ? { listing: 'models', model: sql`m.id`, keyId }
    : { listing: 'versions', model: sql`${model}`, keyId };
}
