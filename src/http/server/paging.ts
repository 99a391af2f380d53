import { z } from 'zod';
import { sha256Hex } from '../../domain/digest.ts';
import { Problem } from '../../domain/errors.ts';
import { type LogPosition, revisionToken } from '../../log/identity.ts';
import type { Page, PageStart } from '../../projections/lists/page.ts';
import { type Cursor, otherListing } from '../../projections/search/order.ts';
import type { Reply } from './route.ts';

export const Paging = {
  page_size: z.coerce.number().int().min(1).max(1000).default(100),
  page_token: z.string().max(1000).optional(),
};

const SearchPlace = z.strictObject({
  revision: z.int().nullable(),
  name: z.string().optional(),
  values: z.array(z.union([z.string(), z.number(), z.null()])).max(3),
});
const Place = z.union([z.int(), SearchPlace]);
const Token = z.tuple([z.string(), Place]);
type Place = z.infer<typeof Place>;

interface Start {
  page_size: number;
  page_token?: string | undefined;
}

/** Returns a token for the entries after a place, valid only for the same listing of the same log. */
function pageToken(listing: unknown[], place: number | Cursor): string {
  return Buffer.from(JSON.stringify([fingerprint(listing), place])).toString('base64url');
}

/** Returns where a page of a list by revision begins. @throws {Problem} invalid-request for a token of another listing */
export function pageStart(listing: unknown[], { page_size, page_token }: Start): PageStart {
  const below = page_token === undefined ? Number.MAX_SAFE_INTEGER : placeOf(listing, page_token);
  if (typeof below === 'number') return { below, page_size };
  throw otherListing();
}

/** Returns where a page of a search begins; null for the first one. @throws {Problem} invalid-request for a token of another listing */
export function searchStart(
  listing: unknown[],
  { page_size, page_token }: Start,
): { after: Cursor | null; page_size: number } {
  const after = page_token === undefined ? null : placeOf(listing, page_token);
  if (typeof after === 'number') throw otherListing();
  return { after, page_size };
}

function placeOf(listing: unknown[], token: string): Place {
  const [of, place] = decode(token);
  if (of === fingerprint(listing)) return place;
  throw otherListing();
}

function decode(token: string): [string, Place] {
  try {
    return Token.parse(JSON.parse(Buffer.from(token, 'base64url').toString('utf8')));
  } catch (cause) {
    throw new Problem('invalid-request', 'The page_token is not valid. Send next_page_token unchanged.', {}, cause);
  }
}

function fingerprint(listing: unknown[]): string {
  return sha256Hex(JSON.stringify(listing)).slice(0, 16);
}

interface ListedPage {
  result: Page<number | Cursor>;
  position: LogPosition;
}

/**
 * Answers a page of a listing, with the token of the next one.
 *
 * @param name the key of the entries in the answer
 * @param listing what the listing depends on; its tokens are valid for no other
 */
export function pageReply(name: string, { result, position }: ListedPage, listing: unknown[]): Reply {
  const { entries, next, count } = result;
  const token = next === null ? null : pageToken(listing, next);
  const counted = count === undefined ? '' : `,"count":${count}`;
  return {
    // The page was read in another thread, so this server may have gone on since.
    headers: { 'Registry-Revision': revisionToken(position) },
    body: `{${JSON.stringify(name)}:[${entries.join(',')}],"next_page_token":${JSON.stringify(token)}${counted}}`,
  };
}
