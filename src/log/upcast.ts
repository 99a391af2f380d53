import type { EventType } from '../domain/events.ts';

type Fields = Record<string, unknown>;

/** From schema version N of a type's data to N+1, by type and N. A type's first change adds its first entry. */
export type Upcasters = Partial<Record<EventType, Record<number, (data: Fields) => Fields>>>;

const upcasters: Upcasters = {};

/** Data of an older schema version in the shape of the current one. */
export function upcast(type: EventType, version: number, data: Fields, table: Upcasters = upcasters): Fields {
  const step = table[type]?.[version];
  return step ? upcast(type, version + 1, step(data), table) : data;
}
