import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Nats } from '../log/connection.ts';
import { compareLog, type LogPosition } from '../log/identity.ts';
import type { LogHead } from '../log/stream.ts';
import { positionFile, readPosition } from '../projections/volume/position-file.ts';

/** A difference between the log and the one that the volume was built from, and what to do about it. */
export interface OtherLog {
  detail: string;
  remedy: string;
}

/**
 * Compares the log with the one that the volume was built from; null if it is the same one, or was restored since.
 *
 * @throws {Error} if the volume's position cannot be read
 */
export async function otherLog(nats: Nats, head: LogHead, volume: string, embedded: boolean): Promise<OtherLog | null> {
  if (head.restoring) {
    return {
      detail: 'A restore into this log is not finished.',
      remedy: 'Run "signalbox restore" again: it continues where it stopped.',
    };
  }
  const position = await readPosition(volume);
  if (position === null || (await compareLog(nats, head, position)) !== 'diverged') return null;
  const built = `The log is not the one that ${volume} was built from:`;
  return { detail: `${built} ${differenceOf(head, position)}.`, remedy: remedyFor(volume, embedded) };
}

/** Does the same for a volume whose embedded nats-server is stopped: without a store, it would start an empty log. */
export async function withoutLog(volume: string): Promise<OtherLog | null> {
  const position = await readPosition(volume);
  if (position === null || position.revision === 0 || hasEmbeddedLog(volume)) return null;
  const detail = `The log that ${volume} was built from, up to revision ${position.revision}, is not in ${volume}/.nats.`;
  return { detail, remedy: remedyFor(volume, true) };
}

function differenceOf(head: LogHead, position: LogPosition): string {
  const built = `that log had revision ${position.revision}`;
  if (head.revision === 0) return `${built}, this one is empty`;
  if (head.revision < position.revision) return `${built}, this one ends at ${head.revision}`;
  return `this one has other events, or is from before a restore`;
}

function remedyFor(volume: string, embedded: boolean): string {
  const move = 'to move a log, see docs/moving.md';
  const right = embedded
    ? `If it was built with NATS_URL, set that again; ${move}.`
    : hasEmbeddedLog(volume)
      ? `If it was built without NATS_URL, its log is in ${volume}/.nats: unset NATS_URL to use it; ${move}.`
      : `Bring the right log back; ${move}.`;
  return `${right} To give up the history that the volume shows, and use this log as it is, remove ${positionFile(volume)}.`;
}

function hasEmbeddedLog(volume: string): boolean {
  return existsSync(join(volume, '.nats', 'store', 'jetstream'));
}
