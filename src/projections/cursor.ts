import { mkdir, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Logger } from 'pino';
import { z } from 'zod';
import type { EventType } from '../domain/events.ts';
import { parsedOrNull } from '../domain/json.ts';
import { ifMissing } from '../files/errno.ts';
import { replaceFile } from '../files/replace.ts';
import { type LogPosition, shortEpoch } from '../log/identity.ts';
import type { Projector } from './projector.ts';
import { revisionsAfter } from './read-model/events.ts';

/** The last event of a log that was delivered. */
export type CursorPosition = z.infer<typeof CursorPosition>;
const CursorPosition = z.object({ generation: z.int(), epoch: z.string().nullable(), revision: z.int() });

/** Delivers the selected events of the log at least once, in the order of the log. */
export interface Cursor {
  /** Why deliveries fail at the moment, as a sentence. */
  problems(): string[];
  /** Waits for the delivery under way. */
  close(): Promise<void>;
}

export interface CursorOptions {
  /** The subject of the problem sentence. */
  name: string;
  projector: Pick<Projector, 'readModel' | 'state' | 'onEvent'>;
  position: {
    /** Called at the start and after each failure; null delivers the log from its first event. */
    load(log: LogPosition): Promise<CursorPosition | null>;
    /** Called after each delivery. */
    save(position: CursorPosition): Promise<void>;
  };
  /** The types of the events that are delivered. */
  types: readonly EventType[];
  /** Delivers events, in this order; if it rejects, the position is loaded again and the events after it are delivered. */
  deliver(revisions: number[], log: LogPosition): Promise<void>;
  log: Logger;
  retryMs?: number;
  /** The number of events delivered together. */
  batch?: number;
}

/**
 * Starts a cursor. It finds the events to deliver in the read model's index each time, so that nothing queues in memory
 * while deliveries fail.
 *
 * @example
 * const cursor = startCursor({
 *   name: 'the webhook',
 *   projector,
 *   position: positionFile(join(volume, '.signalbox', 'webhook.json')),
 *   types: MOVE_TYPES,
 *   deliver: (revisions) => post(url, revisions),
 *   log,
 * });
 */
export function startCursor(options: CursorOptions): Cursor {
  const { name, projector, types, log, retryMs = 2_000, batch = 256 } = options;
  let position: CursorPosition | null = null; // null: to be loaded
  let problem: string | null = null;
  let behind = false;
  let running: Promise<void> | null = null;
  let closed = false;

  projector.onEvent((applied) => {
    if (applied === null || types.includes(applied.event.type)) wake();
  });
  const retry = setInterval(() => behind && wake(), retryMs);
  retry.unref();
  wake();

  return {
    problems: () => (problem === null ? [] : [problem]),
    async close() {
      closed = true;
      clearInterval(retry);
      await running;
    },
  };

  function wake(): void {
    behind = true;
    // Otherwise the timer wakes it: a restored log must first be read to its end.
    if (!closed && projector.state() === 'live') running ??= run();
  }

  async function run(): Promise<void> {
    try {
      while (behind && !closed && projector.state() === 'live') {
        behind = false;
        await advance(projector.readModel);
      }
    } catch (err) {
      behind = true;
      position = null; // part of a batch may have been delivered
      const text = `${name} is behind the log: ${err instanceof Error ? err.message : err}`;
      if (problem !== text) log.error({ err }, text);
      problem = text;
    } finally {
      running = null;
    }
  }

  async function advance(readModel: Projector['readModel']): Promise<void> {
    const log = readModel.position;
    const found = position ?? (await options.position.load(log));
    position = resumed(found, log);
    if (found !== null && position.generation !== found.generation) await options.position.save(position);
    while (!closed) {
      const next = revisionsAfter(readModel.db, position.revision, types, batch);
      if (next.length === 0) break;
      await options.deliver(next, log);
      position = { ...position, revision: next.at(-1)! };
      await options.position.save(position);
      if (readModel.position.generation !== log.generation) return; // the log was restored; another run follows
    }
    problem = null;
  }
}

/**
 * Returns the position to resume a log from. A restored log may be shorter: what it holds when it is first read counts as
 * delivered. The positions of another log say nothing about this one.
 */
export function resumed(position: CursorPosition | null, { generation, epoch, revision }: LogPosition): CursorPosition {
  const delivered = position?.epoch === shortEpoch(epoch) ? position.revision : 0;
  return { generation, epoch: shortEpoch(epoch), revision: Math.min(delivered, revision) };
}

/** Returns the newest of the positions in a log; null if none is in it. */
export function newestOf(positions: (CursorPosition | null)[], { epoch }: LogPosition): CursorPosition | null {
  return positions
    .filter((position) => position?.epoch === shortEpoch(epoch))
    .reduce((newest, position) => (newest && position && isNewer(newest, position) ? newest : position), null);
}

function isNewer(one: CursorPosition, other: CursorPosition): boolean {
  return one.generation === other.generation ? one.revision > other.revision : one.generation > other.generation;
}

/** Returns the position that a JSON text has; null if it has none. */
export function parsePosition(text: string): CursorPosition | null {
  return parsedOrNull(CursorPosition, text);
}

/** Keeps a position in a file. */
export function positionFile(path: string): CursorOptions['position'] {
  return {
    load: async () => parsePosition(await readFile(path, 'utf8').catch(ifMissing(''))),
    async save(position) {
      await mkdir(dirname(path), { recursive: true, mode: 0o700 });
      await replaceFile(path, JSON.stringify(position));
    },
  };
}
