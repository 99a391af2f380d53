import { Problem } from '../domain/errors.ts';
import { createLimiter, type Limiter } from '../structures/limiter.ts';

/** How many events, and how many bytes of events, may be stored in a minute; 0 is no limit. */
export interface WriteLimit {
  commands: number;
  bytes: number;
}

/** An event that is about to be appended. */
export interface Write {
  model: string;
  actor: string;
  bytes: number;
  /** Whether it leads back to safety: such events have quotas of their own, which a flood of others does not use up. */
  moves_back: boolean;
}

/** The log never forgets an event, so that what is added to it in a minute is limited for each model and each caller. */
export interface WriteLimits {
  /**
   * Charges a write before it is appended; what is returned gives it back where it was not stored.
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
 * A caller has a limit of its own over all models: one who may write to every model could otherwise invent names.
 * Both are counted by this server alone.
 *
 * @param now milliseconds
 */
export function createWriteLimits(
  { ofModel, ofCaller }: { ofModel(model: string): WriteLimit; ofCaller: WriteLimit },
  now: () => number,
): WriteLimits {
  /** By quota: there are as many as the policy has different numbers. */
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
