/** A page of a list: its entries as JSON texts, and the revision that the next page begins below; null for the last page. */
export interface Page {
  entries: string[];
  next: number | null;
}

/** Where a page begins, and its greatest length. */
export interface PageStart {
  /** Entries have a lower revision. */
  below: number;
  page_size: number;
}

/** Size of a page as JSON. An answer that is not read stays in memory until its connection is closed. */
const MAX_PAGE_BYTES = 1024 * 1024;

/**
 * Returns the first page of rows, newest first. It ends at `size` entries or at 1 MiB, but has at least one entry.
 *
 * @param json returns the entry of a row
 */
export function pageOf<R extends { revision: number }>(
  rows: Iterable<R>,
  size: number,
  json: (row: R) => string,
): Page {
  const entries: string[] = [];
  let bytes = 0;
  let last = 0;
  for (const row of rows) {
    if (entries.length === size) return { entries, next: last };
    const text = json(row);
    bytes += Buffer.byteLength(text);
    if (entries.length > 0 && bytes > MAX_PAGE_BYTES) return { entries, next: last };
    entries.push(text);
    last = row.revision;
  }
  return { entries, next: null };
}

/** Returns the JSON of an object with one more field, whose value is JSON already. */
export function jsonWith(object: object, field: string, json: string): string {
  return `${JSON.stringify(object).slice(0, -1)},${JSON.stringify(field)}:${json}}`;
}
