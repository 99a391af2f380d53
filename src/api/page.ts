import { z } from 'zod';

/** A page of a listing, whose entries are under `name`. */
export type Page<Name extends string, Entry> = Record<Name, Entry[]> & { next_page_token: string | null };

/** A count of more than this takes too long, and tells nobody more. */
export const MAX_COUNT = 10_000;

/** A page of a list that can be searched. */
export function searchedPageOf<Name extends string>(name: Name, entry: z.ZodType) {
  return pageOf(name, entry).extend({
    count: z
      .int()
      .optional()
      .meta({ description: `If it was asked for; ${MAX_COUNT} stands for ${MAX_COUNT} or more` }),
  });
}

export function pageOf<Name extends string>(name: Name, entry: z.ZodType) {
  return z.object({ [name]: z.array(entry), next_page_token: z.string().nullable() });
}
