import type { Logger } from 'pino';
import { Problem } from '../domain/errors.ts';
import type { RegistryEvent } from '../domain/events.ts';
import type { Nats } from '../log/connection.ts';
import { tailLog } from '../log/log-tail.ts';
import type { LogMessage } from '../log/read.ts';
import type { TailState } from '../log/supervise.ts';
import { applyMessage, emptyRegistry, type Registry } from './registry.ts';

/** Called for every event after it is folded; null when the log was restored and everything is to be built anew. */
export type EventListener = (applied: { event: RegistryEvent; revision: number } | null) => void;

/** Keeps a read model at the head of the log. */
export interface Projector {
  registry(): Registry;
  /** `live`, or why what is read may be old. */
  state(): TailState;
  /** Revisions that somebody took out of the log. */
  gaps(): readonly { first: number; last: number }[];
  /** Resolves when the log was first read to its head. */
  ready(): Promise<void>;
  /**
   * Folds an event that was appended here as soon as it is acknowledged, if everything before it is folded; the tail, which
   * brings it again a little later, then passes it over.
   */
  appended(message: LogMessage): void;
  /** Resolves when a revision is folded. @throws {Problem} outcome-unknown after 5 seconds */
  reached(revision: number): Promise<void>;
  onEvent(listener: EventListener): void;
  /** Told of each word of the tail, even if it is the same one again. */
  onState(listener: (state: TailState) => void): void;
  close(): Promise<void>;
}

const REACH_TIMEOUT_MS = 5_000;

interface Waiter {
  revision: number;
  resolve(): void;
}

export function startProjector(nats: Nats, generation: number, log: Logger): Projector {
  let registry = emptyRegistry(generation);
  let state: TailState = 'catching-up';
  const gaps: { first: number; last: number }[] = [];
  const waiters = new Set<Waiter>();
  const listeners: EventListener[] = [];
  const stateListeners: ((state: TailState) => void)[] = [];
  const ready = Promise.withResolvers<void>();

  const tail = tailLog(nats, {
    position: () => registry.position,
    message,
    gap(first, last) {
      gaps.push({ first, last });
      log.error({ first, last }, 'revisions are missing from the log');
    },
    restart(generation) {
      log.warn({ generation }, 'the log was restored; reading it from the start');
      registry = emptyRegistry(generation);
      gaps.length = 0;
      tell(null);
    },
    state(next, why) {
      if (next !== state) log[next === 'diverged' ? 'error' : 'info']({ state: next, err: why }, 'log');
      state = next;
      if (next === 'live') ready.resolve();
      for (const listener of stateListeners) listener(next);
    },
  });

  function message(message: LogMessage): void {
    const { revision, model } = message;
    if (revision <= registry.position.revision) return;
    const event = applyMessage(registry, message);
    const frozen = registry.models.get(model)!.frozen;
    if (frozen?.revision === revision) log.error({ model, ...frozen }, 'a model’s log cannot be followed');
    if (event) tell({ event, revision });
    for (const waiter of waiters) if (waiter.revision <= revision) waiter.resolve();
  }

  /** An event is folded once: what one listener makes of it must not keep it from the others, or from who waits. */
  function tell(applied: Parameters<EventListener>[0]): void {
    for (const listener of listeners) {
      try {
        listener(applied);
      } catch (err) {
        log.error({ err, revision: applied?.revision }, 'an event could not be passed on');
      }
    }
  }

  return {
    registry: () => registry,
    state: () => state,
    gaps: () => gaps,
    ready: () => ready.promise,
    appended(own) {
      if (state === 'live' && own.revision === registry.position.revision + 1) message(own);
    },
    reached,
    onEvent: (listener) => listeners.push(listener),
    onState: (listener) => stateListeners.push(listener),
    close: () => tail.close(),
  };

  async function reached(revision: number): Promise<void> {
    if (registry.position.revision >= revision) return;
    await new Promise<void>((resolve, reject) => {
      const waiter = { revision, resolve: () => settle(resolve) };
      const settle = (done: () => void) => {
        clearTimeout(timer);
        waiters.delete(waiter);
        done();
      };
      const late = new Problem(
        'outcome-unknown',
        `The event ${revision} is in the log but was not read back; ask again.`,
      );
      const timer = setTimeout(() => settle(() => reject(late)), REACH_TIMEOUT_MS);
      waiters.add(waiter);
    });
  }
}
