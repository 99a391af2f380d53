import { setTimeout as sleep } from 'node:timers/promises';
import { Problem } from '../domain/errors.ts';
import { createLimiter } from '../structures/limiter.ts';

/** Throttles callers that send invalid credentials. */
export interface SignIns {
  /**
   * Returns the error for a refused credential: the refusal itself or, after too many of them from one address or for one
   * subject, too-many-attempts after a second.
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
 * A valid credential is never throttled because of invalid ones from the same address: after a change of the secret, old
 * clients would block new ones. Keys cannot be guessed (256 bits), so this only limits the load.
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
      const detail = `Too many invalid credentials from this address or subject. Try again in ${retry_after} s.`;
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

/** An expired credential is not a guess: it was valid once, and its caller must learn that it has expired. */
function isGuess(refusal: unknown): boolean {
  return refusal instanceof Problem && refusal.code === 'unauthenticated' && !refusal.fields.expired;
}
