import { z } from 'zod';

/** A page of a listing, whose entries are under `name`. */
export type Page<Name extends string, Entry> = Record<Name, Entry[]> & { next_page_token: string | null };

export function pageOf<Name extends string>(name: Name, entry: z.ZodType) {
  return z.object({ [name]: z.array(entry), next_page_token: z.string().nullable() });
}
