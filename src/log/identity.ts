import type { Nats } from './connection.ts';
import { readHash } from './read.ts';
import type { LogHead } from './stream.ts';

/**
 * How far a log was read, and the hashes that identify its content. A stream's `created` time does not identify it: a
 * store copied back from a backup keeps that time, and a restore through the API changes it.
 */
export interface LogPosition {
  generation: number;
  /** Hash of the first message's body; null before that message was read. */
  epoch: string | null;
  revision: number;
  /** Hash of the body at `revision`; null at revision 0. */
  hash: string | null;
}

export const START: LogPosition = { generation: 0, epoch: null, revision: 0, hash: null };

/**
 * Compares the log with the one that was read up to `position`.
 *
 * - `restored`: its generation is higher, even if its content is the same. A reader that kept the old generation would
 *   mistake the next loss of events for this restore.
 * - `diverged`: it is shorter or has other content in the same generation, so acknowledged events were lost. Also while a
 *   restore is not finished.
 */
export async function compareLog(
  nats: Nats,
  head: LogHead,
  position: LogPosition,
): Promise<'same' | 'restored' | 'diverged'> {
  if (head.restoring) return 'diverged';
  if (head.generation > position.generation) return 'restored';
  // From before a restore that the reader has seen: another log, even if its content is the same so far.
  if (head.generation < position.generation) return 'diverged';
  return (await contains(nats, head, position)) ? 'same' : 'diverged';
}

async function contains(nats: Nats, head: LogHead, { revision, hash, epoch }: LogPosition): Promise<boolean> {
  if (revision === 0) return true;
  if (head.revision < revision) return false;
  return startsWith(await readHash(nats, revision), hash) && startsWith(await readHash(nats, 1), epoch);
}

/** Compares by prefix, because a position that was parsed from its id has only the first characters of its hashes. */
function startsWith(hash: string | null, prefix: string | null): boolean {
  return hash === null || prefix === null ? hash === prefix : hash.startsWith(prefix);
}

const EPOCH_LENGTH = 8;
const HASH_LENGTH = 16;

/** The first characters of an epoch: enough to tell logs apart. */
export function shortEpoch(epoch: string | null): string | null {
  return epoch === null ? null : epoch.slice(0, EPOCH_LENGTH);
}

/** Returns the id of a position, which is opaque to clients: `generation-epoch-revision-hash`. */
export function positionId({ generation, epoch, revision, hash }: LogPosition): string {
  return [generation, shortEpoch(epoch) ?? '', revision, hash?.slice(0, HASH_LENGTH) ?? ''].join('-');
}

/** Returns the position of an id, with shortened hashes; null if the id is invalid. */
export function parsePositionId(id: string): LogPosition | null {
  const [, generation, epoch, revision, hash] = /^(\d{1,15})-([0-9a-f]{8}|)-(\d{1,15})-([0-9a-f]{16}|)$/.exec(id) ?? [];
  if (generation === undefined || (Number(revision) > 0 && !hash)) return null;
  return { generation: Number(generation), epoch: epoch || null, revision: Number(revision), hash: hash || null };
}

const tokens = new WeakMap<LogPosition, string>();
const NO_EPOCH = 'empty';

/**
 * Returns a position as a token that is opaque to clients: `generation-epoch-revision`. Every HTTP response carries it, so
 * it is cached for each position.
 */
export function revisionToken(position: LogPosition): string {
  const cached = tokens.get(position);
  if (cached) return cached;
  const { generation, epoch, revision } = position;
  const token = `${generation}-${shortEpoch(epoch) ?? NO_EPOCH}-${revision}`;
  tokens.set(position, token);
  return token;
}

/** A revision of a log, as a token states it; the epoch is shortened, and null if the server did not know it. */
export type RevisionMark = Pick<LogPosition, 'generation' | 'epoch' | 'revision'>;

/** Returns what a token of `revisionToken` states; null if it is invalid. */
export function parseRevisionToken(token: string): RevisionMark | null {
  const [, generation, epoch, revision] = /^(\d{1,15})-([0-9a-f]{8}|empty)-(\d{1,15})$/.exec(token) ?? [];
  if (generation === undefined) return null;
  return { generation: Number(generation), epoch: epoch === NO_EPOCH ? null : epoch!, revision: Number(revision) };
}

/**
 * Compares a reader's position with a revision that another reader has seen.
 *
 * - `behind`: the reader has not read it yet, or has not noticed yet that the log was restored.
 * - `restored`: it was seen before the log was restored. The log may have lost it, and may have another event there now.
 * - `other`: it is from a log with another first event.
 */
export function compareRevision(
  position: LogPosition,
  mark: RevisionMark,
): 'reached' | 'behind' | 'restored' | 'other' {
  if (mark.generation > position.generation) return 'behind';
  if (mark.generation < position.generation) return 'restored';
  const known = position.epoch !== null && mark.epoch !== null;
  if (known && !startsWith(position.epoch, mark.epoch)) return 'other';
  return mark.revision <= position.revision ? 'reached' : 'behind';
}
