import type { Move } from '../rules/event.ts';

/** How an environment came to something: the event that moved it. */
export interface MoveMade {
  revision: number;
  type: Move['type'];
  time: string;
  actor: string;
  reason: string | null;
}

/** A time in which one version (or none: null) was active in an environment; `ended` is null while it still is. */
export interface Tenure {
  model: string;
  environment: string;
  version: string | null;
  began: MoveMade;
  ended: MoveMade | null;
}

/** Takes every move, and tells which tenure it ended (null for an environment's first) and which it began. */
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

/** In whole seconds; up to `now` (in milliseconds) for one that has not ended. */
export function secondsOf({ began, ended }: Tenure, now: number): number {
  return Math.max(0, Math.round(((ended ? Date.parse(ended.time) : now) - Date.parse(began.time)) / 1000));
}
