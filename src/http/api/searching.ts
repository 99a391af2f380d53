import { z } from 'zod';
import { MAX_COUNT } from '../../api/page.ts';
import { parseOrder } from '../../search/order.ts';
import { parse } from '../../search/parse.ts';

/** The parameters of a list that can be searched (docs/search.md); their parsers limit them. */
export const Searching = {
  where: z.string().optional().meta({ description: 'A filter: docs/search.md', example: 'metrics.auc > 0.9' }),
  order_by: z.string().optional().meta({ description: 'Up to three fields', example: 'metrics.auc desc' }),
  count: z
    .stringbool()
    .optional()
    .meta({ description: `Adds \`count\`, up to ${MAX_COUNT}: how many entries there are in all` }),
};

type Searched = { where?: string | undefined; order_by?: string | undefined; count?: boolean | undefined };

export function isSearch({ where, order_by, count }: Searched): boolean {
  return where !== undefined || order_by !== undefined || count === true;
}

/** @throws {Problem} invalid-request, with `position` and `expected` */
export function searchOf({ where = '', order_by = '', count = false }: Searched, context: Parameters<typeof parse>[1]) {
  return { filter: parse(where, context), order: parseOrder(order_by, context.listing), count };
}
