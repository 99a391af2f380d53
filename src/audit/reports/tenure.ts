import type { Move } from '../rules/event.ts';

/** The event that moved an environment. */
export interface MoveMade {
  revision: number;
  type: Move['type'];
  time: string;
  actor: string;
  reason: string | null;
}

/** A period in which one version (null: none) was active in an environment. `ended` is null if it is still active. */
export interface Tenure {
  model: string;
  environment: string;
  version: string | null;
  began: MoveMade;
  ended: MoveMade | null;
}

/** Returns a function to call for every move, in order: it returns the tenures that the move ended (or null) and began. */
export function tenureKeeper(): (event: Move) => { ended: Tenure | null; began: Tenure } {
  const current = new Map<string, Tenure>();
  return ({ model, revision, type, time, actor, data }) => {
    const { environment, version, reason } = data;
    const place = `${model} ${environment}`;
    const made = { revision, type, time, actor, reason };
    const ended = current.get(place) ?? null;
    if (ended) ended.ended = made;
    const began = { model, environment, version, began: made, ended: null };
    current.set(place, began);
    return { ended, began };
  };
}

/** Returns the length of a tenure in whole seconds, until `now` (ms since 1970) if it has not ended. */
export function secondsOf({ began, ended }: Tenure, now: number): number {
  return Math.max(0, Math.round(((ended ? Date.parse(ended.time) : now) - Date.parse(began.time)) / 1000));
}
