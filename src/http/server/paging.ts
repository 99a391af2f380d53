import { z } from 'zod';
import { sha256Hex } from '../../domain/digest.ts';
import { Problem } from '../../domain/errors.ts';
import type { Page, PageStart } from '../../projections/lists/page.ts';
import type { Reply } from './route.ts';

export const Paging = {
  page_size: z.coerce.number().int().min(1).max(1000).default(100),
  page_token: z.string().max(200).optional(),
};

const Token = z.tuple([z.string(), z.int()]);

/** Returns a token for the entries before `revision`, valid only for the same listing of the same log. */
function pageToken(listing: unknown[], revision: number): string {
  return Buffer.from(JSON.stringify([fingerprint(listing), revision])).toString('base64url');
}

/** Returns where a page begins. @throws {Problem} invalid-request for a token of another listing */
export function pageStart(
  listing: unknown[],
  { page_size, page_token: token }: { page_size: number; page_token?: string | undefined },
): PageStart {
  if (token === undefined) return { below: Number.MAX_SAFE_INTEGER, page_size };
  const [of, revision] = decode(token);
  if (of === fingerprint(listing)) return { below: revision, page_size };
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

/**
 * Answers a page of a listing, with the token of the next one.
 *
 * @param name the key of the entries in the answer
 * @param listing what the listing depends on; its tokens are valid for no other
 */
export function pageReply(name: string, { entries, next }: Page, listing: unknown[]): Reply {
  const token = next === null ? null : pageToken(listing, next);
  return { body: `{${JSON.stringify(name)}:[${entries.join(',')}],"next_page_token":${JSON.stringify(token)}}` };
}
