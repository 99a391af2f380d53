import type { Target } from '../../domain/fleet.ts';
import type { FollowedPosition } from '../position.ts';

/** The environment's target; `request_id` is that of the request that moved the environment, if known. */
export interface Following {
  state: 'following';
  position: FollowedPosition;
  /** Null if nothing is active. */
  target: Target | null;
  request_id?: string | undefined;
  /** The registry cannot follow its own log. */
  stale: boolean;
}

/** The full state of the followed environment, as a source knows it. */
export type Sighting =
  | Following
  /** There is no such environment. */
  | { state: 'unknown-environment' }
  /** The source has received nothing for a while. */
  | { state: 'silent' }
  /** The log is not the one that was followed before. */
  | { state: 'diverged' };

/** Reports the active version to a loader. */
export interface Source {
  /** Follows from a position until the signal aborts. Never ends or throws by itself. */
  follow(held: FollowedPosition | null, signal: AbortSignal): AsyncIterable<Sighting>;
}
