import { isOrderable } from './fields.ts';
import type { Listing, OrderTerm } from './filter.ts';
import { Reader } from './reader.ts';

export const MAX_ORDER_FIELDS = 3;

/**
 * Parses the order of a listing, the query parameter `order_by`: fields with `asc` (the default) or `desc`, separated by
 * commas. Returns no term for a blank text.
 *
 * @example parseOrder('metrics.auc desc, version', 'versions')
 * @throws {Problem} invalid-request with `position`, the column counted from 1, and `expected`
 */
export function parseOrder(orderBy: string, listing: Listing): OrderTerm[] {
  const reader = new Reader({ name: 'order_by', text: orderBy });
  if (reader.peek().kind === 'end') return [];
  const terms = [termFrom(reader, listing)];
  while (reader.takeIf(',')) {
    if (terms.length === MAX_ORDER_FIELDS) throw reader.error(`at most ${MAX_ORDER_FIELDS} fields`);
    terms.push(termFrom(reader, listing));
  }
  if (reader.peek().kind !== 'end') throw reader.error('asc, desc, a comma or the end');
  return terms;
}

function termFrom(reader: Reader, listing: Listing): OrderTerm {
  const start = reader.peek();
  const field = reader.field(listing);
  if (!isOrderable(field)) throw reader.error('a field with an order: any but notes and environment', start);
  const descending = reader.takeIf('desc');
  if (!descending) reader.takeIf('asc');
  return { field, descending };
}
