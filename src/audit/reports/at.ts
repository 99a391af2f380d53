import type { Replay } from '../replay.ts';
import type { Runtime } from '../rules/event.ts';
import { activeIn, latestOf, type ModelState, newEnvironment, placesOf, type VersionState } from '../rules/state.ts';

/** The state of an environment. `version` is null if none is active; `revision` is null if it was never moved. */
export interface EnvironmentAt {
  version: string | null;
  manifest_digest: string | null;
  published_revision: number | null;
  revision: number | null;
  type: string | null;
  since: string | null;
  by: string | null;
  reason: string | null;
  runtime: Runtime | null;
}

export interface ModelAt {
  model: string;
  latest: string | null;
  /** The revision and time of the model's last event. */
  revision: number;
  time: string;
  environments: Record<string, EnvironmentAt>;
  /** Newest first. */
  versions: (VersionState & { active_in: string[] })[];
}

/** Returns the models of a replay by name. With `environment`, only that environment of the models that have it. */
export function registryAt({ models }: Replay, environment?: string): ModelAt[] {
  const sorted = [...models.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  const having = sorted.filter((model) => environment === undefined || environmentsOf(model).includes(environment));
  return having.map((model) => modelAt(model, environment === undefined ? environmentsOf(model) : [environment]));
}

export function modelAt(model: ModelState, environments = environmentsOf(model)): ModelAt {
  const { name, revision, time } = model;
  const versions = [...model.versions.values()].reverse();
  return {
    model: name,
    latest: latestOf(model),
    revision,
    time,
    environments: Object.fromEntries(environments.map((name) => [name, environmentAt(model, name)])),
    versions: versions.map((version) => ({ ...version, active_in: placesOf(model, version.version) })),
  };
}

/** Returns a model's environments, in the order of its last event. */
export function environmentsOf({ named, environments }: ModelState): string[] {
  return [...new Set([...named, ...environments.keys()])];
}

function environmentAt(model: ModelState, name: string): EnvironmentAt {
  const { moved, runtime } = model.environments.get(name) ?? newEnvironment();
  const active = model.versions.get(activeIn(model, name) ?? '');
  return {
    version: active?.version ?? null,
    manifest_digest: active?.manifest_digest ?? null,
    published_revision: active?.revision ?? null,
    revision: moved?.revision ?? null,
    type: moved?.type ?? null,
    since: moved?.at ?? null,
    by: moved?.by ?? null,
    reason: moved?.reason ?? null,
    runtime,
  };
}
