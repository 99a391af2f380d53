import type { ActivePointer } from '../domain/events.ts';
import { hasConverged } from '../domain/fleet.ts';
import type { Fleet } from '../projections/fleet.ts';
import { BoundedMap } from '../structures/bounded-map.ts';

/** A move of an environment, and what has been active since. */
export interface Moved {
  model: string;
  environment: string;
  active: Pick<ActivePointer, 'version' | 'manifest_digest'> | null;
}

export interface ConvergenceOptions {
  fleet: Pick<Fleet, 'of' | 'onReport'>;
  /** The loaders of an environment have all followed, this long after the move. */
  converged(environment: string, seconds: number): void;
  /** In milliseconds. */
  now(): number;
}

const MAX_PENDING = 1_000;
/** Who follows later than this was away. */
const FORGET_MS = 3600_000;

/** Watches how long the loaders take to follow a move. A move without any loader, or overtaken by the next, is not timed. */
export function watchConvergence({ fleet, converged, now }: ConvergenceOptions): { moved(moved: Moved): void } {
  const pending = new BoundedMap<string, Moved & { since: number }>(MAX_PENDING);
  const loadersOf = ({ model, environment }: Moved) =>
    fleet.of(model).filter((loader) => loader.environment === environment);

  fleet.onReport((model, environment) => {
    const key = keyOf(model, environment);
    const move = pending.get(key);
    if (!move) return;
    const took = now() - move.since;
    if (took <= FORGET_MS && !loadersOf(move).every((loader) => hasConverged(loader, move.active))) return;
    pending.delete(key);
    if (took <= FORGET_MS) converged(environment, took / 1000);
  });

  return {
    moved(move) {
      const key = keyOf(move.model, move.environment);
      pending.delete(key);
      if (loadersOf(move).length > 0) pending.set(key, { ...move, since: now() });
    },
  };
}

function keyOf(model: string, environment: string): string {
  return `${model}/${environment}`;
}
