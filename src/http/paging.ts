import { z } from 'zod';
import { sha256Hex } from '../domain/digest.ts';
import { Problem } from '../domain/errors.ts';

export const Paging = {
  page_size: z.coerce.number().int().min(1).max(1000).default(100),
  page_token: z.string().max(200).optional(),
};

const Token = z.tuple([z.string(), z.number()]);

/** A token for the entries before `revision`, good for the same listing of the same log only. */
function pageToken(listing: unknown[], revision: number): string {
  return Buffer.from(JSON.stringify([fingerprint(listing), revision])).toString('base64url');
}

/** The revision that a page begins below. @throws {Problem} invalid-request for a token of another listing */
export function pageStart(listing: unknown[], token: string | undefined): number {
  if (token === undefined) return Number.POSITIVE_INFINITY;
  const [of, revision] = decode(token);
  if (of === fingerprint(listing)) return revision;
  throw new Problem('invalid-request', 'The page token belongs to another listing; start without one.');
}

function decode(token: string): [string, number] {
  try {
    return Token.parse(JSON.parse(Buffer.from(token, 'base64url').toString('utf8')));
  } catch (cause) {
    throw new Problem('invalid-request', 'The page token is not one of ours.', {}, cause);
  }
}

function fingerprint(listing: unknown[]): string {
  return sha256Hex(JSON.stringify(listing)).slice(0, 16);
}

/** The page of `entries` (newest first) below `start`, and the token of the one after it. */
export function page<T extends { revision: number }>(
  entries: Iterable<T>,
  start: number,
  { page_size }: { page_size: number },
  listing: unknown[],
): { entries: T[]; next_page_token: string | null } {
  const taken: T[] = [];
  for (const entry of entries) {
    if (entry.revision >= start) continue;
    if (taken.length === page_size)
      return { entries: taken, next_page_token: pageToken(listing, taken.at(-1)!.revision) };
    taken.push(entry);
  }
  return { entries: taken, next_page_token: null };
}
