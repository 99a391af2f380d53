import type { Logger } from 'pino';
import { Problem } from '../domain/errors.ts';
import type { RegistryEvent } from '../domain/events.ts';
import type { Nats } from '../log/connection.ts';
import { compareLog, type LogPosition } from '../log/identity.ts';
import { tailLog } from '../log/log-tail.ts';
import type { LogMessage } from '../log/read.ts';
import { readHead } from '../log/stream.ts';
import type { SupervisedTail, TailState } from '../log/supervise.ts';
import { ReadModel } from './read-model/read-model.ts';
import { createWaiters } from './waiters.ts';

/** Called for every event after it is folded; with null when the log is read from the start again. */
export type EventListener = (applied: { event: RegistryEvent; revision: number } | null) => void;

/** Keeps the read model at the head of the log. */
export interface Projector {
  readonly readModel: ReadModel;
  /** `live`, or why the read model may be old. */
  state(): TailState;
  /** Whether the read model was at the head of the log once, since the start or since it was made anew. */
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
  /**
   * Waits until a condition on the position holds; returns whether it did within 5 seconds. It is checked after every
   * event, and after a restore of the log is noticed, so it must be cheap.
   */
  until(holds: (position: LogPosition) => boolean): Promise<boolean>;
  /** Makes the read model anew, from the start of the log. */
  rebuild(): void;
  onEvent(listener: EventListener): void;
  /** Called on every state change of the tail, and when the same state is reported again. */
  onState(listener: (state: TailState) => void): void;
  close(): Promise<void>;
}

export interface ProjectorOptions {
  nats: Nats;
  /** The read model's file, or `IN_MEMORY`. */
  path: string;
  log: Logger;
  /** Called with a line for the operator while the start takes long. */
  progress?(line: string): void;
}

/** While catching up, a transaction has this many events, or lasts this long. */
const BATCH = 20_000;
const BATCH_MS = 500;
const PROGRESS_EVERY_MS = 2_000;

/** Opens the read model, and follows the log from its position. */
export async function startProjector({ nats, path, log, progress }: ProjectorOptions): Promise<Projector> {
  let state: TailState = 'catching-up';
  let complete = false;
  let uncommitted = 0;
  let committing: NodeJS.Timeout | undefined;
  const listeners: EventListener[] = [];
  const stateListeners: ((state: TailState) => void)[] = [];
  const ready = Promise.withResolvers<void>();
  let closed = false;
  let tail: SupervisedTail | null = null;
  const readModel = new ReadModel({ path, log, onDamage: () => setImmediate(repair, readModel.opening) });
  const waiters = createWaiters(() => readModel.committed);
  await adopt();
  const reporting = setInterval(report, PROGRESS_EVERY_MS);
  reporting.unref();

  tail = tailLog(nats, {
    position: () => readModel.position,
    message,
    gap(first, last) {
      written(() => readModel.noteGap({ first, last }));
      log.error({ first, last }, 'revisions are missing from the log');
    },
    restart(generation) {
      log.warn({ generation }, 'the log was restored; reading it from the start');
      discard(generation);
    },
    state(next, why) {
      if (next === 'live' || next === 'catching-up') written(commit);
      else attempt(commit);
      if (next === 'live') written(() => readModel.index());
      if (next !== state) log[next === 'diverged' ? 'error' : 'info']({ state: next, err: why }, 'log');
      state = next;
      if (next === 'live') {
        complete = true;
        ready.resolve();
      }
      tell(stateListeners, next);
    },
  });

  return {
    readModel,
    state: () => state,
    complete: () => complete,
    gaps: () => readModel.gaps,
    ready: () => ready.promise,
    appended(own) {
      if (state !== 'live' || own.revision !== readModel.position.revision + 1) return;
      try {
        message(own);
      } catch (err) {
        // The event is in the log: the tail delivers it again.
        log.error({ err, revision: own.revision }, 'an event could not be folded');
      }
    },
    reached,
    until: waiters.until,
    rebuild: () => startAgain(),
    onEvent: (listener) => listeners.push(listener),
    onState: (listener) => stateListeners.push(listener),
    async close() {
      closed = true;
      await tail.close();
      clearInterval(reporting);
      attempt(commit);
      readModel.close();
    },
  };

  /** A read model of another log, or of a later state of a log that went back, says nothing about this one. */
  async function adopt(): Promise<void> {
    const head = await readHead(nats);
    const { position } = readModel;
    if ((await compareLog(nats, head, position)) === 'same') return;
    if (position.revision > 0) log.warn({ position }, 'the read model is of another log; it is made anew');
    readModel.reset(head.generation);
  }

  function report(): void {
    if (!complete && state === 'catching-up') {
      progress?.(`Reading the log into the read model: ${readModel.position.revision} events so far`);
    }
  }

  function message(message: LogMessage): void {
    const { revision, model } = message;
    if (revision <= readModel.position.revision) return;
    const event = folded(message);
    const frozen = readModel.frozen(model);
    if (frozen?.revision === revision) log.error({ model, ...frozen }, 'a model is frozen: an event cannot be applied');
    if (event) notify({ event, revision });
  }

  /** A live event has a transaction of its own; while catching up, many share one. */
  function folded(message: LogMessage): RegistryEvent | null {
    const event = written(() => readModel.fold(message));
    uncommitted++;
    if (state === 'live' || uncommitted >= BATCH) written(commit);
    else committing ??= setTimeout(() => attempt(() => written(commit)) || tail?.restart(), BATCH_MS);
    return event;
  }

  function commit(): void {
    clearTimeout(committing);
    committing = undefined;
    uncommitted = 0;
    readModel.commit();
    waiters.moved(); // the lists see what is committed
  }

  /**
   * Writes, or ends the round of the tail by the error: the next one begins at the last commit. A start on a full disk must
   * come to an end, so until then the read model falls back to memory.
   */
  function written<T>(write: () => T): T {
    try {
      return write();
    } catch (err) {
      if (!complete && !(err instanceof Problem)) {
        log.warn({ err }, 'the read model could not be written');
        readModel.reset(readModel.position.generation, true);
      }
      throw err;
    }
  }

  /** Returns whether it succeeded. */
  function attempt(write: () => void): boolean {
    try {
      write();
      return true;
    } catch (err) {
      log.error({ err }, 'the read model could not be written');
      return false;
    }
  }

  /** Reads the log from its start. */
  function discard(generation: number, inMemory = false): void {
    readModel.reset(generation, inMemory);
    complete = false;
    notify(null);
    waiters.moved();
  }

  function startAgain(inMemory = false): void {
    state = 'catching-up'; // listeners must not take the empty read model for the head of the log
    discard(readModel.position.generation, inMemory);
    tail?.restart();
  }

  /** Several requests may find the damage of one file, also in the thread of the lists. */
  function repair(opening: number): void {
    if (closed || opening !== readModel.opening) return;
    // A new file that fails before it is complete would fail again: an exceeded quota also counts as damage.
    startAgain(opening > 0 && !complete);
  }

  function notify(applied: Parameters<EventListener>[0]): void {
    tell(listeners, applied);
  }

  /** An event is folded once, so an error in one listener must not keep it from the others, from `reached` or from the tail. */
  function tell<T>(told: ((news: T) => void)[], news: T): void {
    for (const listener of told) {
      try {
        listener(news);
      } catch (err) {
        log.error({ err, revision: readModel.position.revision }, 'a listener failed');
      }
    }
  }

  async function reached(revision: number): Promise<void> {
    if (await waiters.until((position) => position.revision >= revision)) return;
    throw new Problem(
      'outcome-unknown',
      `The event ${revision} is in the log, but was not read back in time; send the request again.`,
    );
  }
}
