import { Problem } from '../domain/errors.ts';
import { createLimiter, type Limiter } from '../structures/limiter.ts';

/** How many events, and how many bytes of events, may be stored in a minute; 0 means no limit. */
export interface WriteLimit {
  commands: number;
  bytes: number;
}

/** An event that is about to be appended. */
export interface Write {
  model: string;
  actor: string;
  bytes: number;
  /** See `Command.moves_back`. Such events have quotas of their own, which other events cannot use up. */
  moves_back: boolean;
}

/** Limits what each model and each caller may add to the log in a minute, because the log never deletes an event. */
export interface WriteLimits {
  /**
   * Charges a write before it is appended. Call the returned function if the write was not stored: it refunds the charge.
   *
   * @throws {Problem} too-many-commands, with nothing charged
   */
  charge(write: Write): () => void;
}

const WINDOW_S = 60;
const MIB = 1024 * 1024;

interface Charge {
  limiter: Limiter;
  name: string;
  amount: number;
  whose: string;
  limit: WriteLimit;
}

/**
 * A caller's limit is over all models: a caller that may write to every model could otherwise invent new names. Each
 * server counts for itself.
 *
 * @param now milliseconds
 */
export function createWriteLimits(
  { ofModel, ofCaller }: { ofModel(model: string): WriteLimit; ofCaller: WriteLimit },
  now: () => number,
): WriteLimits {
  /** One limiter for each different quota in the policy. */
  const limiters = new Map<number, Limiter>();

  return {
    charge(write) {
      const charged: Charge[] = [];
      const giveBack = () => {
        for (const { limiter, name, amount } of charged.splice(0)) limiter.giveBack(name, amount);
      };
      for (const charge of chargesOf(write)) {
        const { allowed, reset } = charge.limiter.take(charge.name, charge.amount);
        charged.push(charge);
        if (allowed) continue;
        giveBack();
        throw refusal(charge, reset);
      }
      return giveBack;
    },
  };

  function chargesOf({ model, actor, bytes, moves_back }: Write): Charge[] {
    const kind = moves_back ? 'back' : 'any';
    return [
      ...chargesTo(`${kind} model ${model}`, `The model ${model}`, ofModel(model), bytes),
      ...chargesTo(`${kind} caller ${actor}`, actor, ofCaller, bytes),
    ];
  }

  function chargesTo(name: string, whose: string, limit: WriteLimit, bytes: number): Charge[] {
    const both = [
      { quota: limit.commands, name: `commands ${name}`, amount: 1 },
      { quota: limit.bytes, name: `bytes ${name}`, amount: bytes },
    ];
    return both
      .filter(({ quota }) => quota > 0)
      .map(({ quota, name, amount }) => ({ limiter: limiterOf(quota), name, amount, whose, limit }));
  }

  function limiterOf(quota: number): Limiter {
    const limiter = limiters.get(quota) ?? createLimiter({ quota, window: WINDOW_S }, now);
    limiters.set(quota, limiter);
    return limiter;
  }
}

function refusal({ whose, limit: { commands, bytes } }: Charge, retry_after: number): Problem {
  const most = [
    ...(commands > 0 ? [`${commands} commands`] : []),
    ...(bytes > 0 ? [`${bytes / MIB} MiB of events`] : []),
  ];
  const detail =
    `${whose} may add ${most.join(' and ')} a minute to the log; the next in ${retry_after} s. ` +
    'To change the limit: REGISTRY_COMMAND_LIMIT, or limits in the policy.';
  return new Problem('too-many-commands', detail, { retry_after, commands, bytes });
}
