import type { ActiveMap, ActivePointer, EventData, RegistryEvent } from './events.ts';
import {
  activeIn,
  type EnvironmentState,
  environmentOf,
  IDEMPOTENCY_WINDOW_MS,
  MAX_ACTIVATION_LIMIT,
  type Model,
  outcomeKey,
  type StackEntry,
  type VersionState,
} from './model.ts';
import { isVersion } from './versions.ts';

/** An event that the rules do not allow after the earlier events. The model's later events cannot be applied. */
export class RuleBroken extends Error {
  override readonly name = 'RuleBroken';
}

/**
 * Applies one event to a model and returns the model. It is changed in place: a copy of its maps for every event would make
 * replay quadratic. Its only owner is the read model. The versions and environments in it are replaced, never changed, so
 * that a reader can keep them.
 *
 * @throws {RuleBroken} if the rules do not allow the event after the earlier ones; the model is then unchanged
 */
export function evolve(model: Model, event: RegistryEvent, revision: number, hash: string): Model {
  if (revision <= model.revision) throw new RuleBroken(`revision ${revision} does not follow ${model.revision}`);
  const change = changeOf(model, event, revision);
  checkActiveMap(model, event.data.active, change.environment);
  if (change.version) model.versions.set(change.version.version, change.version);
  if (change.environment) model.environments.set(change.environment.name, change.environment.state);
  rememberOutcome(model, event, revision);
  model.revision = revision;
  model.head = hash;
  model.time = event.time;
  return model;
}

/**
 * Passes an ignorable event of an unknown type. Loaders act on the `active` map of every event, so it must not differ.
 *
 * @throws {RuleBroken} before anything is changed
 */
export function skip(model: Model, active: ActiveMap, revision: number, hash: string): void {
  checkActiveMap(model, active);
  model.revision = revision;
  model.head = hash;
}

interface Change {
  version?: VersionState;
  environment?: EnvironmentChange;
}

interface EnvironmentChange {
  name: string;
  state: EnvironmentState;
  moves: boolean;
}

/** Returns what an event replaces in the model. @throws {RuleBroken} if it breaks a rule of its type */
function changeOf(model: Model, event: RegistryEvent, revision: number): Change {
  switch (event.type) {
    case 'version.published':
      return { version: published(model, event.data, event, revision) };
    case 'version.archived':
      return { version: withStatus(model, event.data.version, 'ready', 'archived') };
    case 'version.restored':
      return { version: withStatus(model, event.data.version, 'archived', 'ready') };
    case 'notes.changed':
      return { version: { ...known(model, event.data.version), notes: event.data.notes } };
    case 'runtime.declared': {
      const { environment: name, runtime } = event.data;
      return { environment: { name, state: { ...environmentOf(model, name), runtime }, moves: false } };
    }
    default:
      return { environment: moved(model, event, revision) };
  }
}

function published(
  model: Model,
  data: EventData<'version.published'>,
  event: RegistryEvent,
  revision: number,
): VersionState {
  const { version, manifest, manifest_digest, notes } = data;
  if (!isVersion(version)) throw new RuleBroken(`${version} is not a valid version`);
  if (model.versions.has(version)) throw new RuleBroken(`version ${version} was already published`);
  const by = { published_at: event.time, published_by: event.actor };
  return { version, status: 'ready', manifest, manifest_digest, notes, ...by, revision };
}

function withStatus(
  model: Model,
  name: string,
  from: VersionState['status'],
  to: VersionState['status'],
): VersionState {
  const version = known(model, name);
  if (version.status !== from) throw new RuleBroken(`version ${name} is ${version.status}`);
  if (to === 'archived' && activeIn(model, name).length > 0) throw new RuleBroken(`version ${name} is active`);
  return { ...version, status: to };
}

type Moving = Extract<RegistryEvent, { type: 'version.activated' | 'version.rolled_back' | 'version.deactivated' }>;

function moved(model: Model, event: Moving, revision: number): EnvironmentChange {
  const { environment: name, previous, reason } = event.data;
  const before = environmentOf(model, name);
  const active = before.top?.version ?? null;
  if (previous !== active) throw new RuleBroken(`its previous version in ${name} is ${previous}, not ${active}`);
  const movement = { revision, at: event.time, by: event.actor, reason, request_id: event.request_id };
  const state = { ...before, top: movedTop(model, before.top, event, revision), moved: movement };
  if (event.type === 'version.activated') {
    state.activations = [...before.activations.slice(1 - MAX_ACTIVATION_LIMIT), event.time];
  }
  return { name, state, moves: true };
}

function movedTop(model: Model, top: StackEntry | null, event: Moving, revision: number): StackEntry {
  if (event.type === 'version.rolled_back') return poppedTop(model, top, event.data);
  if (event.type === 'version.activated') {
    checkReady(known(model, event.data.version));
    if (event.data.version === event.data.previous) throw new RuleBroken(`${event.data.version} is already active`);
  } else if (event.data.previous === null) throw new RuleBroken('no version is active');
  return { revision, version: event.data.version, below: top };
}

function poppedTop(model: Model, top: StackEntry | null, data: EventData<'version.rolled_back'>): StackEntry {
  let target = top;
  for (const reverted of data.reverts) {
    if (target?.revision !== reverted) throw new RuleBroken(`revision ${reverted} is not the next one to revert`);
    if (target !== top && target.version === data.version) throw new RuleBroken('it reverts more than needed');
    target = target.below;
  }
  if (target === top) throw new RuleBroken('it reverts no revision');
  if (target?.version !== data.version) throw new RuleBroken(`its reverts do not lead to ${data.version}`);
  if (data.version !== null) checkReady(known(model, data.version));
  return target;
}

/** Compares the event's map with the state after the event, for every environment of the map or of the model. */
function checkActiveMap(model: Model, given: ActiveMap, change?: EnvironmentChange): void {
  const names = new Set([...Object.keys(given), ...model.environments.keys()]);
  if (change?.moves) names.add(change.name);
  for (const name of names) {
    const state = change?.moves && change.name === name ? change.state : environmentOf(model, name);
    const revision = state === change?.state ? undefined : state.moved?.revision;
    const version = state.top?.version ?? null;
    if (!pointsTo(given[name], version === null ? null : known(model, version), revision)) {
      throw new RuleBroken(`its active map is wrong about ${name}`);
    }
  }
}

function pointsTo(
  pointer: ActivePointer | null | undefined,
  target: VersionState | null,
  revision: number | undefined,
): boolean {
  if (!target || !pointer) return !target && pointer === null;
  return (
    pointer.version === target.version &&
    pointer.manifest_digest === target.manifest_digest &&
    pointer.published_revision === target.revision &&
    pointer.revision === revision
  );
}

function rememberOutcome(model: Model, event: RegistryEvent, revision: number): void {
  if (!event.idempotency && model.outcomes.size === 0) return;
  const at = Date.parse(event.time);
  for (const [key, outcome] of model.outcomes) {
    if (outcome.at > at - IDEMPOTENCY_WINDOW_MS) break;
    model.outcomes.delete(key);
  }
  if (!event.idempotency) return;
  const { key, command_hash } = event.idempotency;
  model.outcomes.set(outcomeKey(event.actor, key), { command_hash, revision, at });
}

function known(model: Model, version: string): VersionState {
  const state = model.versions.get(version);
  if (!state) throw new RuleBroken(`version ${version} was never published`);
  return state;
}

function checkReady({ version, status }: VersionState): void {
  if (status !== 'ready') throw new RuleBroken(`version ${version} is ${status}`);
}
