import { InvalidArgumentError } from 'commander';
import type { RegistryClient } from '../../client/client.ts';

export type Query = Record<string, string | boolean | undefined>;

/** Reads the first `limit` entries of a listing, page by page. */
export async function pages<T>(
  client: RegistryClient,
  path: string,
  key: string,
  query: Query,
  limit: number,
): Promise<T[]> {
  const found: T[] = [];
  let page_token: string | undefined;
  while (found.length < limit) {
    const page_size = Math.min(limit - found.length, 1000);
    const answer = await client.call<Record<string, unknown>>('GET', path, {
      query: { ...query, page_size, page_token },
    });
    found.push(...(answer[key] as T[]));
    if (answer.next_page_token === null) break;
    page_token = answer.next_page_token as string;
  }
  return found;
}

/** Parses the count of an option. @throws {InvalidArgumentError} */
export function count(text: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('It must be a whole number greater than 0.');
}
