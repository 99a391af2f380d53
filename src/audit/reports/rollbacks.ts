import type { Move } from '../rules/event.ts';
import { type MoveMade, type Tenure, tenureKeeper } from './tenure.ts';

/** A move that a rollback undid: what it had made active (or null), and how long that was so, all in all. */
export interface Reverted extends MoveMade {
  version: string | null;
  active_seconds: number;
}

/** An environment that went back to what was active there before. */
export interface Rollback extends MoveMade {
  model: string;
  environment: string;
  /** An activation that put back what was active there before the present version ever was, without saying so. */
  implicit: boolean;
  before: string | null;
  after: string | null;
  /** How the version before had become active, and for how long it then was. */
  before_began: MoveMade | null;
  before_seconds: number;
  /** Newest first; of an implicit one, none. */
  reverted: Reverted[];
  overridden: boolean;
}

/** The moves of one environment that were not rolled back, and what was ever active there. */
interface Place {
  pushed: { made: Reverted; milliseconds: number }[];
  movedAt: number;
  /** By version, the revision that first made it active there. */
  first: Map<string, number>;
}

/** Takes every move, and answers with the rollback that it is, or null. */
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

/** Whether a version was there before another one (or was there at all, where there is none now). */
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
  const told = { before, after, before_began: ended?.began ?? null, before_seconds, reverted, overridden };
  return { ...made, model, environment, implicit, ...told };
}
