import type { Target } from '../../domain/fleet.ts';
import type { Position } from '../position.ts';

/** Where the environment is; `request_id` is of the request that moved it there, if the source knows. */
export interface Following {
  state: 'following';
  position: Position;
  target: Target | null;
  request_id?: string | undefined;
  stale: boolean;
}

/** What a source knows of the environment that is followed; always the full state. */
export type Sighting =
  /** `target` is null where nothing is active; `stale` where the registry cannot follow its own log. */
  | Following
  /** There is no such environment. */
  | { state: 'unknown-environment' }
  /** Nothing was heard for a while. */
  | { state: 'silent' }
  /** The log is no longer the one that was followed. */
  | { state: 'diverged' };

/** Where a loader learns what is active. */
export interface Source {
  /** From a position on, until the signal aborts. It never ends or throws by itself. */
  follow(held: Position | null, signal: AbortSignal): AsyncIterable<Sighting>;
}
