import { join } from 'node:path';
import type { Logger } from 'pino';
import { isMove, MOVE_TYPES, type MoveEvent } from '../domain/events.ts';
import { visibleJson } from '../domain/visible.ts';
import { decodeEvent } from '../log/codec.ts';
import { type LogPosition, shortEpoch } from '../log/identity.ts';
import type { LogMessage } from '../log/read.ts';
import {
  type Cursor,
  type CursorOptions,
  type CursorPosition,
  newestOf,
  parsePosition,
  positionFile,
  startCursor,
} from './cursor.ts';
import { appendLines, lastLines, rotationsOf } from './line-file.ts';

export interface ActivationHistoryOptions extends Pick<CursorOptions, 'projector' | 'retryMs'> {
  /** The file. Other programs may rotate it: rename it, or copy and truncate it. */
  path: string;
  /** The volume, which keeps the position. */
  volume: string;
  readAt(revision: number): Promise<LogMessage | null>;
  log: Logger;
}

/** Appends one JSON line to a file for each activation, rollback and deactivation. */
export function startActivationHistory({ path, volume, projector, readAt, ...rest }: ActivationHistoryOptions): Cursor {
  const saved = positionFile(join(volume, '.signalbox', 'history-position.json'));
  return startCursor({
    name: path,
    projector,
    position: {
      // The position is saved after the lines, so a crash may leave the file ahead of it, even if it was rotated since.
      load: async (log) => newestOf([await saved.load(log), ...(await lastPositions(path))], log),
      save: saved.save,
    },
    types: MOVE_TYPES,
    async deliver(revisions, log) {
      const lines = await Promise.all(revisions.map((revision) => lineAt(revision, log)));
      if (projector.readModel.position.generation !== log.generation) throw new Error('the log was restored');
      await appendLines(path, lines);
    },
    ...rest,
  });

  async function lineAt(revision: number, log: LogPosition): Promise<string> {
    const message = await readAt(revision);
    const event = message && decodeEvent(message.body).event;
    if (!event || !isMove(event)) throw new Error(`the event ${revision} is no longer in the log`);
    return visibleJson(JSON.stringify(historyLine(event, revision, log)));
  }
}

/** A line has the fields of a position; `before` and `after` are the model's active versions, by environment. */
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

/** Returns the positions of the last lines of the file and of its rotations. */
async function lastPositions(path: string): Promise<(CursorPosition | null)[]> {
  const found = [];
  // One file after the other: there may be many, and a megabyte of each is read.
  for (const file of await rotationsOf(path)) found.push(await lastPosition(file));
  return found;
}

async function lastPosition(path: string): Promise<CursorPosition | null> {
  for (const line of await lastLines(path)) {
    const position = parsePosition(line);
    if (position) return position;
  }
  return null; // other programs may write to it
}
