import { createHash, randomBytes } from 'node:crypto';
import type { Digest } from '../domain/digest.ts';
import type { Addressable, ArtifactStore } from './store.ts';

/** What a store can do, found by storing, reading and deleting a blob of 32 bytes. */
export interface Probe {
  /** How far the store's clock is ahead of this machine's, in ms; S3 and Azure state whole seconds. */
  clock_ahead: number;
  /** Whether a short-lived address reads the blob; null if the store has no addresses. */
  addresses: boolean | null;
}

const ADDRESS_SECONDS = 60;
const FETCH_MS = 10_000;

/** @throws {Problem} store-unavailable, volume-full; {Error} if the store answers other bytes than were put */
export async function probeStore(store: ArtifactStore & Partial<Addressable>): Promise<Probe> {
  const bytes = randomBytes(32);
  const digest: Digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  const { stored_at } = await store.put(digest, once(bytes), bytes.length);
  const clock_ahead = stored_at - Date.now();
  try {
    await checkRange(store, digest, bytes);
    return { clock_ahead, addresses: store.addressOf ? await hasAddress(store.addressOf, digest, bytes) : null };
  } finally {
    await store.delete(digest);
  }
}

async function* once(bytes: Uint8Array) {
  yield bytes;
}

async function checkRange(store: ArtifactStore, digest: Digest, bytes: Buffer): Promise<void> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of await store.get(digest, { start: 5, end: 20 })) chunks.push(chunk);
  if (Buffer.concat(chunks).equals(bytes.subarray(5, 21))) return;
  throw new Error('It answers other bytes than were put.');
}

async function hasAddress(addressOf: Addressable['addressOf'], digest: Digest, bytes: Buffer): Promise<boolean> {
  try {
    const address = await addressOf(digest, ADDRESS_SECONDS);
    const answer = await fetch(address, { redirect: 'error', signal: AbortSignal.timeout(FETCH_MS) });
    return Buffer.from(await answer.arrayBuffer()).equals(bytes);
  } catch {
    return false; // its credentials cannot sign, or this machine does not reach the address
  }
}
