import type { Logger } from 'pino';
import { Problem } from '../domain/errors.ts';
import type { RegistryEvent } from '../domain/events.ts';
import type { Nats } from '../log/connection.ts';
import { tailLog } from '../log/log-tail.ts';
import type { LogMessage } from '../log/read.ts';
import type { TailState } from '../log/supervise.ts';
import { applyMessage, emptyRegistry, type Registry } from './registry.ts';

/** Called for every event after it is folded; with null when the log was restored and is read from the start. */
export type EventListener = (applied: { event: RegistryEvent; revision: number } | null) => void;

/** Keeps the read model at the head of the log. */
export interface Projector {
  registry(): Registry;
  /** `live`, or why the read model may be old. */
  state(): TailState;
  /** Whether the log was read to its end once, since the start or since it was restored. */
  complete(): boolean;
  /** Revisions that were deleted from the log. */
  gaps(): readonly { first: number; last: number }[];
  /** Resolves when the log has been read to its head for the first time. */
  ready(): Promise<void>;
  /**
   * Folds an event that this server appended, if everything before it is folded. The tail delivers the same event a little
   * later, and skips it.
   */
  appended(message: LogMessage): void;
  /** Resolves when a revision is folded. @throws {Problem} outcome-unknown after 5 seconds */
  reached(revision: number): Promise<void>;
  onEvent(listener: EventListener): void;
  /** Called on every state change of the tail, and when the same state is reported again. */
  onState(listener: (state: TailState) => void): void;
  close(): Promise<void>;
}

const REACH_TIMEOUT_MS = 5_000;

export function startProjector(nats: Nats, generation: number, log: Logger): Projector {
  let registry = emptyRegistry(generation);
  let state: TailState = 'catching-up';
  let complete = false;
  const gaps: { first: number; last: number }[] = [];
  const waiters = new Set<{ revision: number; resolve(): void }>();
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
      complete = false;
      gaps.length = 0;
      notify(null);
    },
    state(next, why) {
      if (next !== state) log[next === 'diverged' ? 'error' : 'info']({ state: next, err: why }, 'log');
      state = next;
      if (next === 'live') {
        complete = true;
        ready.resolve();
      }
      for (const listener of stateListeners) listener(next);
    },
  });

  function message(message: LogMessage): void {
    const { revision, model } = message;
    if (revision <= registry.position.revision) return;
    const event = applyMessage(registry, message);
    const frozen = registry.models.get(model)!.frozen;
    if (frozen?.revision === revision) log.error({ model, ...frozen }, 'a model is frozen: an event cannot be applied');
    if (event) notify({ event, revision });
    for (const waiter of waiters) if (waiter.revision <= revision) waiter.resolve();
  }

  /** An event is folded once, so an error in one listener must not keep it from the others, or from `reached`. */
  function notify(applied: Parameters<EventListener>[0]): void {
    for (const listener of listeners) {
      try {
        listener(applied);
      } catch (err) {
        log.error({ err, revision: applied?.revision }, 'a listener failed for an event');
      }
    }
  }

  return {
    registry: () => registry,
    state: () => state,
    complete: () => complete,
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
        `The event ${revision} is in the log, but was not read back in time; send the request again.`,
      );
      const timer = setTimeout(() => settle(() => reject(late)), REACH_TIMEOUT_MS);
      waiters.add(waiter);
    });
  }
}
