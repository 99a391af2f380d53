import type { Move } from '../rules/event.ts';
import { type MoveMade, type Tenure, tenureKeeper } from './tenure.ts';

/** A move that a rollback undid: the version it had made active (null: none), and how long that was active in total. */
export interface Reverted extends MoveMade {
  version: string | null;
  active_seconds: number;
}

/** A return of an environment to a version that was active there before. */
export interface Rollback extends MoveMade {
  model: string;
  environment: string;
  /** True for an activation of a version that was active there before the replaced version ever was. */
  implicit: boolean;
  before: string | null;
  after: string | null;
  /** The move that made `before` active, and for how long it then was. */
  before_began: MoveMade | null;
  before_seconds: number;
  /** Newest first; empty if `implicit`. */
  reverted: Reverted[];
  overridden: boolean;
}

/** The moves of one environment that were not rolled back, and the versions that were ever active there. */
interface Place {
  pushed: { made: Reverted; milliseconds: number }[];
  movedAt: number;
  /** By version, the revision that first made it active there. */
  first: Map<string, number>;
}

/** Returns a function that must be called for every move, in order. It returns the move's rollback, or null. */
export function rollbackFinder(): (event: Move) => Rollback | null {
  const keep = tenureKeeper();
  const places = new Map<string, Place>();

  return (event) => {
    const { ended, began } = keep(event);
    const key = `${event.model} ${event.data.environment}`;
    const place: Place = places.get(key) ?? { pushed: [], movedAt: event.at, first: new Map() };
    places.set(key, place);
    const top = place.pushed.at(-1);
    if (top) top.milliseconds += event.at - place.movedAt;
    place.movedAt = event.at;
    const implicit = event.type === 'version.activated' && isOlder(place, event.data.version, event.data.previous);
    const { version } = event.data;
    if (version !== null && !place.first.has(version)) place.first.set(version, event.revision);
    if (event.type === 'version.rolled_back') {
      const undone = place.pushed.splice(-event.data.reverts.length).reverse();
      return rollbackOf(event, ended, undone.map(revertedOf), false);
    }
    place.pushed.push({ made: { ...began.began, version, active_seconds: 0 }, milliseconds: 0 });
    return implicit ? rollbackOf(event, ended, [], true) : null;
  };
}

/** Whether a version was first active before the present one; if none is present, whether it was ever active. */
function isOlder({ first }: Place, version: string, present: string | null): boolean {
  const then = first.get(version);
  return then !== undefined && (present === null || then < first.get(present)!);
}

function revertedOf({ made, milliseconds }: Place['pushed'][number]): Reverted {
  return { ...made, active_seconds: Math.round(milliseconds / 1000) };
}

function rollbackOf(event: Move, ended: Tenure | null, reverted: Reverted[], implicit: boolean): Rollback {
  const { revision, type, time, actor, model, data } = event;
  const { environment, previous: before, version: after, reason } = data;
  const before_seconds = ended ? Math.round((event.at - Date.parse(ended.began.time)) / 1000) : 0;
  const overridden = 'overridden' in data && (data.overridden?.length ?? 0) > 0;
  const made = { revision, type, time, actor, reason };
  const replaced = { before, after, before_began: ended?.began ?? null, before_seconds };
  return { ...made, model, environment, implicit, ...replaced, reverted, overridden };
}
