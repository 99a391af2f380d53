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

/** Who moved an environment last, and how. */
export interface Movement {
  type: string;
  revision: number;
  at: string;
  by: string;
  reason: string | null;
}

export interface EnvironmentState {
  /** What was made active, or was taken away (null), and not rolled back since; the newest last. */
  stack: { revision: number; version: string | null }[];
  /** Whether what lies below the stack was forgotten. */
  cut: boolean;
  moved: Movement | null;
  runtime: Runtime | null;
}

/** One model, as its events have made it. Versions in it are replaced, never changed. */
export interface ModelState {
  name: string;
  /** Of the last event: its revision, hash, time and time in milliseconds. */
  revision: number;
  hash: string;
  time: string;
  at: number;
  versions: Map<string, VersionState>;
  environments: Map<string, EnvironmentState>;
  /** The environments that the last event names, in its order: also those in which nothing was ever active. */
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

/** The environments in which a version is active. */
export function placesOf(model: ModelState, version: string): string[] {
  return [...model.environments.keys()].filter((environment) => activeIn(model, environment) === version);
}

/** The highest version in use that is no pre-release; if there is none, the highest pre-release; of nothing, null. */
export function latestOf(model: ModelState): string | null {
  const inUse = [...model.versions.values()].filter(({ status }) => status === 'ready').map(({ version }) => version);
  const sorted = semver.rsort(inUse);
  return sorted.find((version) => !version.includes('-')) ?? sorted[0] ?? null;
}
