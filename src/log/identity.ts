import type { Nats } from './connection.ts';
import { readHash } from './read.ts';
import type { LogHead } from './stream.ts';

/**
 * How far a log was followed, and what was found there. A stream's `created` is no identity: a store copied back from
 * a backup keeps it, and a restore through the API changes it. Content is.
 */
export interface LogPosition {
  generation: number;
  /** Hash of the first message's body; null before it was read. */
  epoch: string | null;
  revision: number;
  /** Hash of the body at `revision`; null at revision 0. */
  hash: string | null;
}

export const START: LogPosition = { generation: 0, epoch: null, revision: 0, hash: null };

/**
 * Whether the log is still the one that was followed to `position`. One of a higher generation is `restored`, even if
 * it holds the same: a follower that kept its old generation would take the next loss for this restore. One that goes
 * backwards or is another without that is `diverged`: what was acknowledged is gone, which nobody said. So is one that is
 * being restored, until it is whole.
 */
export async function compareLog(
  nats: Nats,
  head: LogHead,
  position: LogPosition,
): Promise<'same' | 'restored' | 'diverged'> {
  if (head.restoring) return 'diverged';
  if (head.generation > position.generation) return 'restored';
  // From before a restore that is known of: another one, even where it holds the same so far.
  if (head.generation < position.generation) return 'diverged';
  return (await holds(nats, head, position)) ? 'same' : 'diverged';
}

async function holds(nats: Nats, head: LogHead, { revision, hash, epoch }: LogPosition): Promise<boolean> {
  if (revision === 0) return true;
  if (head.revision < revision) return false;
  return begins(await readHash(nats, revision), hash) && begins(await readHash(nats, 1), epoch);
}

/** A position that was handed around as a position's id has but the beginnings of both hashes. */
function begins(hash: string | null, beginning: string | null): boolean {
  return hash === null || beginning === null ? hash === beginning : hash.startsWith(beginning);
}

const EPOCH_LENGTH = 8;
const HASH_LENGTH = 16;

/** What is told of an epoch: enough to tell one log from another. */
export function shortEpoch(epoch: string | null): string | null {
  return epoch === null ? null : epoch.slice(0, EPOCH_LENGTH);
}

/** A position as followers hold it, opaque to them: `generation-epoch-revision-hash`. */
export function positionId({ generation, epoch, revision, hash }: LogPosition): string {
  return [generation, shortEpoch(epoch) ?? '', revision, hash?.slice(0, HASH_LENGTH) ?? ''].join('-');
}

/** The position, with the beginnings of its hashes; null for what is no id of ours. */
export function parsePositionId(id: string): LogPosition | null {
  const [, generation, epoch, revision, hash] = /^(\d{1,15})-([0-9a-f]{8}|)-(\d{1,15})-([0-9a-f]{16}|)$/.exec(id) ?? [];
  if (generation === undefined || (Number(revision) > 0 && !hash)) return null;
  return { generation: Number(generation), epoch: epoch || null, revision: Number(revision), hash: hash || null };
}

const tokens = new WeakMap<LogPosition, string>();

/** A position as one opaque token, made once: every answer over HTTP carries it. */
export function revisionToken(position: LogPosition): string {
  const known = tokens.get(position);
  if (known) return known;
  const token = `${position.epoch?.slice(0, 8) ?? 'empty'}-${position.revision}`;
  tokens.set(position, token);
  return token;
}
