/** The position of the last message that a loader accepted. The log’s own `LogPosition`, with hashes, is `id` here. */
export interface FollowedPosition {
  generation: number;
  /** Identifies the log; null while it is empty. */
  epoch: string | null;
  revision: number;
  /** Sent as `Last-Event-ID` to resume. */
  id: string;
}

export type Acceptance = 'accept' | 'skip' | 'diverged';

/**
 * Decides whether a loader accepts a message, given the position of the last accepted one. Only a higher generation may go
 * backwards or to another log: otherwise acknowledged events are lost. `reset` means that the registry reports that its log
 * does not contain the loader's position.
 */
export function acceptanceOf(
  message: Omit<FollowedPosition, 'id'>,
  held: FollowedPosition | null,
  reset: boolean,
): Acceptance {
  if (held === null || message.generation > held.generation) return 'accept';
  const otherLog = held.epoch !== null && message.epoch !== held.epoch;
  if (reset || message.generation < held.generation || otherLog) return 'diverged';
  return message.revision < held.revision ? 'skip' : 'accept';
}
