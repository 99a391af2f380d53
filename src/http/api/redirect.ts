import { REDIRECT } from '../../api/redirect.ts';
import type { Digest } from '../../domain/digest.ts';
import type { HttpContext } from '../server/context.ts';
import type { Reply } from '../server/route.ts';
import type { Services } from '../services.ts';

/** Long enough to open the address. The download itself may take longer. */
const VALID_SECONDS = 60;

type Store = Services['artifacts']['store'];

/** Caches must not give one caller's address to another, or keep it, as it expires. */
export function varies({ addressOf }: Store): Record<string, string> {
  return addressOf ? { Vary: REDIRECT } : {};
}

/**
 * Redirects a caller that asks for it to the blob in the store; returns null if the bytes are to be streamed. Others would
 * not follow, or would send their credentials to the store. An address for GET refuses HEAD.
 */
export async function redirectReply(c: HttpContext, store: Store, digest: Digest): Promise<Reply | null> {
  if (!store.addressOf || c.req.method !== 'GET' || c.req.header(REDIRECT) !== 'accept') return null;
  try {
    const headers = { ...varies(store), 'Cache-Control': 'no-store' };
    const address = await store.addressOf(digest, VALID_SECONDS);
    return { status: 307, headers: { ...headers, Location: address }, body: null };
  } catch {
    return null; // credentials that cannot sign may still read
  }
}
