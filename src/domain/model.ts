import type { Digest } from './digest.ts';
import type { ActiveMap, ActivePointer } from './events.ts';
import type { Manifest } from './manifest.ts';
import type { Runtime } from './requires.ts';
import { highest } from './versions.ts';

export interface VersionState {
  version: string;
  status: 'ready' | 'archived';
  manifest: Manifest;
  manifest_digest: Digest;
  notes: string;
  published_at: string;
  published_by: string;
  /** The revision of the event that published it. */
  revision: number;
}

/**
 * One entry of an environment's stack: the version that an activation made active, or null for a deactivation. A linked
 * list, so that a push or pop takes constant time however long the history is.
 */
export interface StackEntry {
  revision: number;
  version: string | null;
  below: StackEntry | null;
}

/** The last activation, deactivation or rollback of an environment. */
export interface Movement {
  revision: number;
  at: string;
  by: string;
  reason: string | null;
  request_id: string;
}

export interface EnvironmentState {
  /** The active entry. Activate and deactivate push an entry, roll back pops entries. */
  top: StackEntry | null;
  moved: Movement | null;
  runtime: Runtime | null;
  /** Times of the last activations, at most `MAX_ACTIVATION_LIMIT`, oldest first. */
  activations: string[];
}

/** The state of a model after its events. */
export interface Model {
  name: string;
  /** Revision, body hash and time of the model's last event; 0, 64 zeros and '' before the first. */
  revision: number;
  head: string;
  time: string;
  versions: Map<string, VersionState>;
  environments: Map<string, EnvironmentState>;
  /** By idempotency key, oldest first. */
  outcomes: Map<string, { command_hash: string; revision: number; at: number }>;
}

export const NO_HEAD = '0'.repeat(64);
export const ACTIVATION_WINDOW_MS = 60_000;
/** The highest configurable limit of activations per minute. */
export const MAX_ACTIVATION_LIMIT = 100;
export const IDEMPOTENCY_WINDOW_MS = 30 * 24 * 3600_000;

export function initialModel(name: string): Model {
  const maps = { versions: new Map(), environments: new Map(), outcomes: new Map() };
  return { name, revision: 0, head: NO_HEAD, time: '', ...maps };
}

const UNMOVED: EnvironmentState = { top: null, moved: null, runtime: null, activations: [] };

export function environmentOf(model: Model, environment: string): EnvironmentState {
  return model.environments.get(environment) ?? UNMOVED;
}

/** Returns the version that is active in an environment, or null. */
export function activeVersion(model: Model, environment: string): VersionState | null {
  const { top } = environmentOf(model, environment);
  return top?.version ? model.versions.get(top.version)! : null;
}

/** Returns the environments in which a version is active. */
export function activeIn(model: Model, version: string): string[] {
  return [...model.environments.keys()].filter((name) => activeVersion(model, name)?.version === version);
}

function pointerTo(version: VersionState): ActivePointer {
  return { version: version.version, manifest_digest: version.manifest_digest, published_revision: version.revision };
}

/**
 * Returns the `active` map that an event must carry: every configured environment and every one that was ever moved. If the
 * event itself moves an environment, `move` is applied to it.
 */
export function activeMap(
  model: Model,
  configured: Iterable<string>,
  move?: { environment: string; target: VersionState | null },
): ActiveMap {
  // A Map first: a plain object would lose a key "__proto__" of an event from elsewhere.
  const map = new Map<string, ActivePointer | null>();
  for (const name of new Set([...configured, ...model.environments.keys()])) {
    const version = activeVersion(model, name);
    map.set(name, version && { ...pointerTo(version), revision: environmentOf(model, name).moved!.revision });
  }
  if (move) map.set(move.environment, move.target && pointerTo(move.target));
  return Object.fromEntries(map);
}

/** Combines an idempotency key with its actor, so that actors never see each other's outcomes. */
export function outcomeKey(actor: string, key: string): string {
  return JSON.stringify([actor, key]);
}

/** Returns the version that `latest` stands for: the `highest` one that is not archived. */
export function latestVersion(model: Model): string | null {
  return highest([...model.versions.values()].filter(({ status }) => status === 'ready').map(({ version }) => version));
}
