type Fields = Record<string, unknown>;

/** By type and version N: the step from the data of version N to that of N + 1. */
export type Upcasters = Readonly<Record<string, Readonly<Record<number, (data: Fields) => Fields>>>>;

/** A step may throw if the data does not have the shape of its version: the event is then undecodable. */
export const upcasters: Upcasters = {
  'version.published': { 1: (data) => data }, // version 2 only adds optional fields, some of them to the strict manifest
};

/** Returns data of an older version in the shape of the current one. */
export function upcast(type: string, version: number, data: Fields, table: Upcasters): Fields {
  const step = table[type]?.[version];
  return step ? upcast(type, version + 1, step(data), table) : data;
}
