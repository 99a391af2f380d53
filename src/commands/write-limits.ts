import { Problem } from '../domain/errors.ts';
import { createLimiter, type Limiter } from '../domain/limiter.ts';

/** How many events, and how many bytes of events, may be stored in a minute; 0 is no limit. */
export interface WriteLimit {
  commands: number;
  bytes: number;
}

/** The log never forgets an event, so that what is added to it in a minute is limited for each model and each caller. */
export interface WriteLimits {
  /** Before an event of `bytes` is appended. @throws {Problem} too-many-commands */
  check(model: string, actor: string, bytes: number): void;
  /** After it was stored. */
  count(model: string, actor: string, bytes: number): void;
}

const WINDOW_S = 60;
const MIB = 1024 * 1024;

/** One quota that a write is charged to. */
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
    check(model, actor, bytes) {
      for (const { limiter, name, amount, whose, limit } of charges(model, actor, bytes)) {
        const { allowed, reset } = limiter.look(name, amount);
        if (!allowed) throw refusal(whose, limit, reset);
      }
    },
    count(model, actor, bytes) {
      for (const { limiter, name, amount } of charges(model, actor, bytes)) limiter.take(name, amount);
    },
  };

  function charges(model: string, actor: string, bytes: number): Charge[] {
    return [...chargesTo(`The model ${model}`, ofModel(model), bytes), ...chargesTo(actor, ofCaller, bytes)];
  }

  function chargesTo(whose: string, limit: WriteLimit, bytes: number): Charge[] {
    const both = [
      { quota: limit.commands, name: `commands ${whose}`, amount: 1 },
      { quota: limit.bytes, name: `bytes ${whose}`, amount: bytes },
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

function refusal(whose: string, { commands, bytes }: WriteLimit, retry_after: number): Problem {
  const most = [
    ...(commands > 0 ? [`${commands} commands`] : []),
    ...(bytes > 0 ? [`${bytes / MIB} MiB of events`] : []),
  ];
  const detail =
    `${whose} may add ${most.join(' and ')} a minute to the log; the next in ${retry_after} s. ` +
    'To change the limit: REGISTRY_COMMAND_LIMIT, or limits in the policy.';
  return new Problem('too-many-commands', detail, { retry_after, commands, bytes });
}
