import type { ActivePointer } from '../domain/events.ts';
import { hasConverged } from '../domain/fleet.ts';
import type { Fleet } from '../projections/fleet.ts';
import { BoundedMap } from '../structures/bounded-map.ts';

/** A move of an environment, and the version that is active since. */
export interface Moved {
  model: string;
  environment: string;
  active: Pick<ActivePointer, 'version' | 'manifest_digest'> | null;
}

export interface ConvergenceOptions {
  fleet: Pick<Fleet, 'of' | 'onReport'>;
  /** Called when all loaders of the environment have followed, with the time since the move. */
  converged(environment: string, seconds: number): void;
  /** Milliseconds. */
  now(): number;
}

const MAX_PENDING = 1_000;
/** A loader that follows later than this was not running. */
const FORGET_MS = 3600_000;

/** Times how long loaders take to follow a move. A move without loaders, or followed by another move, is not timed. */
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
