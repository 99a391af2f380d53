import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { z } from 'zod';
import { isMove, isMoveType, type MoveEvent } from '../domain/events.ts';
import { visibleJson } from '../domain/visible.ts';
import { ifMissing } from '../files/errno.ts';
import { replaceFile } from '../files/replace.ts';
import { decodeEvent } from '../log/codec.ts';
import { type LogPosition, shortEpoch } from '../log/identity.ts';
import type { LogMessage } from '../log/read.ts';
import { appendLines, lastLines, rotationsOf } from './line-file.ts';
import type { Projector } from './projector.ts';
import type { Registry } from './registry.ts';

/** A file with one JSON line an activation, rollback or deactivation, as a projection of the log. */
export interface ActivationHistory {
  /** What stands in the way, as a sentence. */
  problems(): string[];
  close(): Promise<void>;
}

export interface ActivationHistoryOptions {
  /** The file; whoever rotates it renames it, or copies and truncates it. */
  path: string;
  /** Where the position is kept besides. */
  volume: string;
  projector: Pick<Projector, 'registry' | 'state' | 'onEvent'>;
  readAt(revision: number): Promise<LogMessage | null>;
  log: Logger;
  retryMs?: number;
}

const RETRY_MS = 2_000;
const BATCH = 256;

/**
 * Follows the log with the file. What is left to write is asked of the read model's index each time, so that nothing queues
 * in memory while the disk is full, and the events themselves are read from the log.
 */
export function startActivationHistory(options: ActivationHistoryOptions): ActivationHistory {
  const { path, volume, projector, log, retryMs = RETRY_MS } = options;
  let position: Position | null = null; // to be found on the disk
  let problem: string | null = null;
  let behind = false;
  let running: Promise<void> | null = null;
  let closed = false;

  projector.onEvent((applied) => {
    if (applied === null || isMove(applied.event)) wake();
  });
  const retry = setInterval(wake, retryMs);
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
    if (!closed) running ??= run();
  }

  async function run(): Promise<void> {
    try {
      while (behind && !closed) {
        behind = false;
        await advance();
      }
    } catch (err) {
      position = null; // how much of a batch was written only the file knows
      const text = `${path} is behind the log: ${err instanceof Error ? err.message : err}`;
      if (problem !== text) log.error({ err, path }, 'the activation history does not show what the log says');
      problem = text;
    } finally {
      running = null;
    }
  }

  async function advance(): Promise<void> {
    if (projector.state() !== 'live') return; // a log that was restored is not read to its end yet
    const registry = projector.registry();
    const found = position ?? (await findPosition(path, volume, registry.position));
    position = resumed(found, registry.position);
    if (position.generation !== found.generation) await savePosition(volume, position);
    const moves = movesAfter(registry, position.revision);
    for (let i = 0; i < moves.length && !closed; i += BATCH) {
      const batch = moves.slice(i, i + BATCH);
      const lines = await Promise.all(batch.map((revision) => lineAt(revision, registry.position)));
      if (projector.registry() !== registry) return; // restored meanwhile
      await appendLines(path, lines);
      position = { ...position, revision: batch.at(-1)! };
      await savePosition(volume, position);
    }
    problem = null;
  }

  async function lineAt(revision: number, logPosition: LogPosition): Promise<string> {
    const message = await options.readAt(revision);
    const event = message && decodeEvent(message.body).event;
    if (!event || !isMove(event)) throw new Error(`the event ${revision} is no longer in the log`);
    return visibleJson(JSON.stringify(historyLine(event, revision, logPosition)));
  }
}

/** What the file says of a move; `before` and `after` are what was active of the model, by environment. */
function historyLine(event: MoveEvent, revision: number, { generation, epoch }: LogPosition) {
  const { time, type: event_type, model, actor, request_id, data } = event;
  const { environment, version, previous, reason } = data;
  const after = Object.fromEntries(
    Object.entries(data.active).map(([name, active]) => [name, active?.version ?? null]),
  );
  const before = { ...after, [environment]: previous };
  const what = { time, event_type, model, environment, version, previous, reason, actor, request_id };
  return { ...what, revision, generation, epoch: shortEpoch(epoch), before, after };
}

/** The revisions of all moves after one, in the order of the log. */
function movesAfter({ models }: Registry, revision: number): number[] {
  const found: number[] = [];
  for (const { history } of models.values()) {
    for (let i = history.length - 1; i >= 0 && history[i]!.revision > revision; i--) {
      if (isMoveType(history[i]!.type)) found.push(history[i]!.revision);
    }
  }
  return found.sort((a, b) => a - b);
}

/** Every line has these fields, so that the file itself says how far it goes, and of which log it tells. */
const Position = z.object({ generation: z.int(), epoch: z.string().nullable(), revision: z.int() });
type Position = z.infer<typeof Position>;

/**
 * How far the history was written: the newest of what the position file says, which is saved after the lines, and the last
 * whole lines of the file and of those rotated away beside it, which a crash may have left ahead of it.
 */
async function findPosition(path: string, volume: string, { epoch }: LogPosition): Promise<Position> {
  const found = [parse(await readFile(positionFile(volume), 'utf8').catch(ifMissing('')))];
  // One after the other: there may be many, and a megabyte of each is read.
  for (const file of await rotationsOf(path)) found.push(await lastPosition(file));
  const start = { generation: 0, epoch: shortEpoch(epoch), revision: 0 };
  return found
    .filter((position) => position !== null)
    .filter((position) => position.epoch === start.epoch)
    .reduce<Position>((newest, position) => (isNewer(position, newest) ? position : newest), start);
}

function isNewer(one: Position, other: Position): boolean {
  return one.generation === other.generation ? one.revision > other.revision : one.generation > other.generation;
}

/** Where to go on in the log as it is now: one that was restored may be shorter. */
function resumed(position: Position, { generation, epoch, revision }: LogPosition): Position {
  const written = position.epoch === shortEpoch(epoch) ? position.revision : 0;
  return { generation, epoch: shortEpoch(epoch), revision: Math.min(written, revision) };
}

async function lastPosition(path: string): Promise<Position | null> {
  for (const line of await lastLines(path)) {
    const position = parse(line);
    if (position) return position;
  }
  return null;
}

function parse(text: string): Position | null {
  try {
    return Position.parse(JSON.parse(text));
  } catch {
    return null; // no line of ours
  }
}

function positionFile(volume: string): string {
  return join(volume, '.signalbox', 'history-position.json');
}

async function savePosition(volume: string, position: Position): Promise<void> {
  await mkdir(join(volume, '.signalbox'), { recursive: true, mode: 0o700 });
  await replaceFile(positionFile(volume), JSON.stringify(position));
}
