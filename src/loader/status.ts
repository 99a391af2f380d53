import { clause } from '../domain/clause.ts';
import type { LoaderErrorCode, LoaderState, Target } from '../domain/fleet.ts';

/** The part of a loader's report that the engine knows. */
export interface Status {
  state: LoaderState;
  since: string;
  stale: boolean;
  target: Target | null;
  current: Target | null;
  error: { code: LoaderErrorCode; message: string; at: string } | null;
  load_ms: number | null;
  warm_up_ms: number | null;
}

export function initialStatus(state: LoaderState): Status {
  const nothing = { target: null, current: null, error: null, load_ms: null, warm_up_ms: null };
  return { state, since: new Date().toISOString(), stale: false, ...nothing };
}

const REASONS: Partial<Record<LoaderState, string>> = {
  starting: 'the registry has not reported the active version',
  'no-target': 'no version is active',
  diverged: 'the log was replaced; if it was recreated on purpose, delete "last-good" in the cache folder',
  stopped: 'the loader is closed',
};

/** Why no version serves, as a part of a sentence. */
export function reasonOf({ state, error }: Pick<Status, 'state' | 'error'>): string {
  return clause(error?.message ?? REASONS[state] ?? `the loader is ${state}`);
}
