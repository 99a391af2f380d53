/** Returns the first `limit` items and, if there are others, `and N more`. */
export function atMost(items: readonly string[], limit: number): string[] {
  const more = items.length - limit;
  return more > 0 ? [...items.slice(0, limit), `and ${more} more`] : [...items];
}
