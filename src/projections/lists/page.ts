/** A page of a list: its entries as JSON texts, and where the next page begins; null for the last page. */
export interface Page<Place = number> {
  entries: string[];
  next: Place | null;
  /** If it was asked for: how many entries the list has, up to `MAX_COUNT`. */
  count?: number;
}

/** Where a page of a list by revision begins, newest first, and its greatest length. */
export interface PageStart {
  /** Entries have a lower revision. */
  below: number;
  page_size: number;
}

/** Size of a page as JSON. An answer that is not read stays in memory until its connection is closed. */
const MAX_PAGE_BYTES = 1024 * 1024;

/**
 * Returns the first page of rows. It ends at `size` entries or at 1 MiB, but has at least one entry.
 *
 * @param json returns the entry of a row
 * @param place returns where the page after a row begins
 */
export function pageOf<R, Place>(
  rows: Iterable<R>,
  size: number,
  json: (row: R) => string,
  place: (row: R) => Place,
): Page<Place> {
  const entries: string[] = [];
  let bytes = 0;
  let next: Place | null = null;
  for (const row of rows) {
    if (entries.length === size) return { entries, next };
    const text = json(row);
    bytes += Buffer.byteLength(text);
    if (entries.length > 0 && bytes > MAX_PAGE_BYTES) return { entries, next };
    entries.push(text);
    next = place(row);
  }
  return { entries, next: null };
}

/** The place of lists by revision. */
export function revisionOf({ revision }: { revision: number }): number {
  return revision;
}

/** Returns the JSON of an object with one more field, whose value is JSON already. */
export function jsonWith(object: object, field: string, json: string): string {
  return `${JSON.stringify(object).slice(0, -1)},${JSON.stringify(field)}:${json}}`;
}
