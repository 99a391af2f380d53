import { z } from 'zod';
import { sha256Hex } from '../../domain/digest.ts';
import { Problem } from '../../domain/errors.ts';
import type { Reply } from './route.ts';

export const Paging = {
  page_size: z.coerce.number().int().min(1).max(1000).default(100),
  page_token: z.string().max(200).optional(),
};

const Token = z.tuple([z.string(), z.number()]);

/** Returns a token for the entries before `revision`, valid only for the same listing of the same log. */
function pageToken(listing: unknown[], revision: number): string {
  return Buffer.from(JSON.stringify([fingerprint(listing), revision])).toString('base64url');
}

/** Returns the revision that a page begins below. @throws {Problem} invalid-request for a token of another listing */
function pageStart(listing: unknown[], token: string | undefined): number {
  if (token === undefined) return Number.POSITIVE_INFINITY;
  const [of, revision] = decode(token);
  if (of === fingerprint(listing)) return revision;
  throw new Problem('invalid-request', 'The page_token belongs to another listing. Start without one.');
}

function decode(token: string): [string, number] {
  try {
    return Token.parse(JSON.parse(Buffer.from(token, 'base64url').toString('utf8')));
  } catch (cause) {
    throw new Problem('invalid-request', 'The page_token is not valid. Send next_page_token unchanged.', {}, cause);
  }
}

function fingerprint(listing: unknown[]): string {
  return sha256Hex(JSON.stringify(listing)).slice(0, 16);
}

/** Size of a page as JSON. An answer that is not read stays in memory until its connection is closed. */
const MAX_PAGE_BYTES = 1024 * 1024;
/** How many entries are read at once; those beyond the end of the page are dropped. */
const READ_AT_ONCE = 16;

interface Page<T> {
  /** The key of the entries in the answer. */
  name: string;
  /** Newest first. */
  entries: Iterable<T>;
  page_size: number;
  page_token?: string | undefined;
  /** What the listing depends on; its tokens are valid for no other. */
  listing: unknown[];
  /** Returns the entries as the answer has them, in the same order. */
  views(entries: T[]): unknown[] | Promise<unknown[]>;
}

/**
 * Answers the page that starts at the token, with the token of the next one. A page ends at `page_size` entries or at 1
 * MiB of JSON, but has at least one entry.
 *
 * @throws {Problem} invalid-request for a token of another listing
 */
export async function pageReply<T extends { revision: number }>(page: Page<T>): Promise<Reply> {
  const { name, page_size, listing } = page;
  // One entry more shows whether there is another page.
  const below = firstBelow(pageStart(listing, page.page_token), page.entries, page_size + 1);
  const texts = await textsOf(below.slice(0, page_size), page.views);
  const next = texts.length < below.length ? pageToken(listing, below[texts.length - 1]!.revision) : null;
  return { body: `{${JSON.stringify(name)}:[${texts.join(',')}],"next_page_token":${JSON.stringify(next)}}` };
}

function firstBelow<T extends { revision: number }>(start: number, entries: Iterable<T>, count: number): T[] {
  const found: T[] = [];
  for (const entry of entries) {
    if (entry.revision >= start) continue;
    found.push(entry);
    if (found.length === count) break;
  }
  return found;
}

/** Returns the JSON of the first entries, as many as fit into a page. */
async function textsOf<T>(entries: T[], views: Page<T>['views']): Promise<string[]> {
  const texts: string[] = [];
  let bytes = 0;
  for (let i = 0; i < entries.length; i += READ_AT_ONCE) {
    for (const view of await views(entries.slice(i, i + READ_AT_ONCE))) {
      const text = JSON.stringify(view);
      bytes += Buffer.byteLength(text);
      if (texts.length > 0 && bytes > MAX_PAGE_BYTES) return texts;
      texts.push(text);
    }
  }
  return texts;
}
