import type { Digest } from './digest.ts';
import type { ActiveMap, ActivePointer } from './events.ts';
import type { Manifest } from './manifest.ts';
import type { Runtime } from './requires.ts';

/** What the rules of the fold need of a version: all that an `active` map states, and whether it is in use. */
export interface VersionRecord {
  version: string;
  status: 'ready' | 'archived';
  manifest_digest: Digest;
  /** The revision of the event that published it. */
  revision: number;
}

export interface VersionState extends VersionRecord {
  manifest: Manifest;
  notes: string;
  published_at: string;
  published_by: string;
}

/**
 * One entry of an environment's stack: the version that an activation made active, or null for a deactivation. `below` is
 * the revision of the entry below it. So a push or a pop takes constant time however long the history is.
 */
export interface StackEntry {
  revision: number;
  version: string | null;
  below: number | null;
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
  /** Times of activations in the minute before the last one, itself included: at most `MAX_ACTIVATION_LIMIT`, oldest first. */
  activations: string[];
}

/** The revision of the event that a command with an idempotency key led to, and the hash of that command. */
export interface KeptOutcome {
  command_hash: string;
  revision: number;
}

/**
 * The state of a model after its events, as decisions, the fold and queries see it. Its header and environments are those
 * after one event, and do not change. Versions are looked up when they are asked for.
 */
export interface Model {
  readonly name: string;
  /** Revision, body hash and time of the model's last event; 0, 64 zeros and '' before the first. */
  readonly revision: number;
  readonly head: string;
  readonly time: string;
  /** The number of published versions. */
  readonly versionCount: number;
  /** What `latest` stands for: the highest version that is not archived (`preferred`). */
  readonly latest: string | null;
  /** The highest version, archived ones included. */
  readonly highest: string | null;
  /** Every environment that was moved or described, in the order of their first events. */
  readonly environments: ReadonlyMap<string, EnvironmentState>;
  version(version: string): VersionState | null;
  record(version: string): VersionRecord | null;
  /** The stack entry that the event at a revision pushed. @throws {Error} if it pushed none */
  pushed(revision: number): StackEntry;
  /** What is kept under an idempotency key of an actor; null after `IDEMPOTENCY_WINDOW_MS`. */
  outcome(actor: string, key: string): KeptOutcome | null;
}

/** What one event changes in a model. Whoever keeps the model stores it. */
export interface Change {
  revision: number;
  head: string;
  /** Null if the model keeps the time of an earlier event. */
  time: string | null;
  published?: VersionState;
  status?: { version: string; status: VersionState['status'] };
  notes?: { version: string; notes: string };
  environment?: { name: string; state: EnvironmentState };
  /** The stack entry that the event pushed; it is then the top of the environment. */
  pushed?: StackEntry;
}

export const NO_HEAD = '0'.repeat(64);
export const ACTIVATION_WINDOW_MS = 60_000;
/** The highest configurable limit of activations per minute. */
export const MAX_ACTIVATION_LIMIT = 100;
export const IDEMPOTENCY_WINDOW_MS = 30 * 24 * 3600_000;

export const UNMOVED: EnvironmentState = { top: null, moved: null, runtime: null, activations: [] };

type Environments = Pick<Model, 'environments'>;

export function environmentOf(model: Environments, environment: string): EnvironmentState {
  return model.environments.get(environment) ?? UNMOVED;
}

/** Returns the entry below one of a stack; null at the bottom. */
export function entryBelow(model: Model, entry: StackEntry | null): StackEntry | null {
  return entry === null || entry.below === null ? null : model.pushed(entry.below);
}

/** Returns the version that is active in an environment, or null. */
export function activeVersion(model: Environments, environment: string): string | null {
  return environmentOf(model, environment).top?.version ?? null;
}

/** Returns the environments in which a version is active. */
export function activeIn(model: Environments, version: string): string[] {
  return [...model.environments.keys()].filter((name) => activeVersion(model, name) === version);
}

function pointerTo(version: VersionRecord): ActivePointer {
  return { version: version.version, manifest_digest: version.manifest_digest, published_revision: version.revision };
}

/**
 * Returns the `active` map that an event must carry: every configured environment and every one that was ever moved. If the
 * event itself moves an environment, `move` is applied to it.
 */
export function activeMap(
  model: Model,
  configured: Iterable<string>,
  move?: { environment: string; target: VersionRecord | null },
): ActiveMap {
  // A Map first: a plain object would lose a key "__proto__" of an event from elsewhere.
  const map = new Map<string, ActivePointer | null>();
  for (const name of new Set([...configured, ...model.environments.keys()])) {
    const version = activeVersion(model, name);
    const pointer = version === null ? null : pointerTo(model.record(version)!);
    map.set(name, pointer && { ...pointer, revision: environmentOf(model, name).moved!.revision });
  }
  if (move) map.set(move.environment, move.target && pointerTo(move.target));
  return Object.fromEntries(map);
}
