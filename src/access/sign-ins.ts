import { setTimeout as sleep } from 'node:timers/promises';
import { Problem } from '../domain/errors.ts';
import { createLimiter } from '../structures/limiter.ts';

/** Slows down who sends credentials that are none. */
export interface SignIns {
  /**
   * What a refused credential is answered with: the refusal itself, or, after too many of them from one address or for
   * one subject, too-many-attempts, a second later.
   */
  failed(address: string, subject: string, refusal: unknown): Promise<unknown>;
}

const WINDOW_S = 60;
/** Many callers may share an address, behind a proxy. */
const PER_ADDRESS = 300;
const PER_SUBJECT = 20;
const HELD_MS = 1_000;
const MAX_HELD = 256;

/**
 * A good credential is never refused for the bad ones beside it: whoever deploys a new secret would be locked out by
 * what still runs with the old one. Nothing is there to guess (keys have 256 bits); this bounds the noise.
 */
export function createSignIns(wait: (ms: number) => Promise<unknown> = sleep): SignIns {
  const addresses = createLimiter({ quota: PER_ADDRESS, window: WINDOW_S }, Date.now);
  const subjects = createLimiter({ quota: PER_SUBJECT, window: WINDOW_S }, Date.now);
  let held = 0;
  return {
    async failed(address, subject, refusal) {
      if (!isGuess(refusal)) return refusal;
      const counts = [addresses.take(address), subjects.take(subject)];
      if (counts.every(({ allowed }) => allowed)) return refusal;
      await hold();
      const retry_after = Math.max(...counts.map(({ allowed, reset }) => (allowed ? 0 : reset)));
      const detail = `Too many credentials from here were not valid; try again in ${retry_after} s.`;
      return new Problem('too-many-attempts', detail, { retry_after }, refusal);
    },
  };

  async function hold(): Promise<void> {
    if (held >= MAX_HELD) return;
    held++;
    await wait(HELD_MS);
    held--;
  }
}

/** What has expired was good once, and who sends it must be told why it no longer is. */
function isGuess(refusal: unknown): boolean {
  return refusal instanceof Problem && refusal.code === 'unauthenticated' && !refusal.fields.expired;
}
