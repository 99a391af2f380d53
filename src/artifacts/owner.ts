import { Problem } from '../domain/errors.ts';
import type { Owned } from './store.ts';

/** What a log is known by. */
export interface LogIdentity {
  /** The hash of its first event; null while it is empty. */
  epoch: string | null;
  /** What it is known by while it is empty. */
  provisional: string;
}

const EMPTY = 'empty-';

/** @param created when the stream of the empty log was created */
export function provisionalOwner(created: string): string {
  return EMPTY + created;
}

/** Returns which log with events a store belongs to; null if none claimed it, or only an empty log, which refers to nothing. */
export async function logOf(store: Owned): Promise<string | null> {
  const owner = await store.owner();
  return owner?.startsWith(EMPTY) ? null : owner;
}

/** The store belongs to another log. */
export class ForeignStore extends Problem {
  constructor(store: string, owner: string) {
    const remedy = 'Use another prefix, or the log that it belongs to.';
    super('store-unavailable', `The artifact store ${store} belongs to another log (${owner.slice(0, 16)}). ${remedy}`);
  }
}

/**
 * Makes sure that a store belongs to a log. A store that belongs to none is claimed. Two logs in one store would delete each
 * other's blobs, since neither knows what the other one refers to.
 *
 * @param name the store's name, for messages
 * @param wasClaimed whether it belonged to the log before, so that a missing record means that something else is there
 * @throws {ForeignStore}, {Problem} store-unavailable
 */
export async function claim(store: Owned, name: string, log: LogIdentity, wasClaimed: boolean): Promise<void> {
  const { epoch, provisional } = log;
  const id = epoch ?? provisional;
  const owner = await store.owner();
  if (owner === id) return;
  if (owner === null && wasClaimed) throw new Problem('store-unavailable', `${name} has lost its owner record.`);
  if (owner !== null && owner !== provisional) throw new ForeignStore(name, owner);
  await store.own(id);
  // Another log may have claimed it at the same moment.
  const now = await store.owner();
  if (now !== id) throw new ForeignStore(name, now ?? 'nobody');
}
