import semver from 'semver';
import type { Runtime } from './event.ts';
import type { Manifest } from './manifest.ts';

export interface VersionState {
  version: string;
  status: 'ready' | 'archived';
  notes: string;
  published_at: string;
  published_by: string;
  revision: number;
  manifest_digest: string;
  manifest: Manifest;
}

/** The last move of an environment. */
export interface Movement {
  type: string;
  revision: number;
  at: string;
  by: string;
  reason: string | null;
}

export interface EnvironmentState {
  /** The activations and deactivations (version null) that were not rolled back, newest last. */
  stack: { revision: number; version: string | null }[];
  /** Whether older entries were dropped from the stack. */
  cut: boolean;
  moved: Movement | null;
  runtime: Runtime | null;
}

/** The state of a model after some of its events. `VersionState` objects are replaced, never modified. */
export interface ModelState {
  name: string;
  /** The last event's revision, hash and time; `at` is the time in ms since 1970. */
  revision: number;
  hash: string;
  time: string;
  at: number;
  versions: Map<string, VersionState>;
  environments: Map<string, EnvironmentState>;
  /** The environments in the last event's `active` map, in its order; also those that never had an active version. */
  named: string[];
}

export function newModel(name: string): ModelState {
  const nothing = { revision: 0, hash: '0'.repeat(64), time: '', at: Number.NEGATIVE_INFINITY };
  return { name, ...nothing, versions: new Map(), environments: new Map(), named: [] };
}

export function newEnvironment(): EnvironmentState {
  return { stack: [], cut: false, moved: null, runtime: null };
}

export function activeIn(model: ModelState, environment: string): string | null {
  return model.environments.get(environment)?.stack.at(-1)?.version ?? null;
}

/** Returns the environments in which a version is active. */
export function placesOf(model: ModelState, version: string): string[] {
  return [...model.environments.keys()].filter((environment) => activeIn(model, environment) === version);
}

/** Returns the highest ready version that is not a pre-release, else the highest ready pre-release, else null. */
export function latestOf(model: ModelState): string | null {
  const inUse = [...model.versions.values()].filter(({ status }) => status === 'ready').map(({ version }) => version);
  const sorted = semver.rsort(inUse);
  return sorted.find((version) => !version.includes('-')) ?? sorted[0] ?? null;
}
