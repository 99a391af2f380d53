import type { ActivePointer, EventData, RegistryEvent } from './events.ts';
import {
  activeIn,
  activeMap,
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

/** An event that the rules do not allow after the ones before it: the model's log cannot be followed past it. */
export class RuleBroken extends Error {
  override readonly name = 'RuleBroken';
}

/**
 * Folds one event into a model and returns it. The model is changed in place, since a copy of its maps for every event
 * would make replay quadratic; it has one owner, the read model. Versions and environments in it are replaced, never
 * changed, so that what was read from it stays as it was read.
 *
 * @throws {RuleBroken} before anything is changed, where the event does not follow from those before it
 */
export function evolve(model: Model, event: RegistryEvent, revision: number, hash: string): Model {
  rule(revision > model.revision, `${revision} does not come after ${model.revision}`);
  const change = changeOf(model, event, revision);
  checkActiveMap(model, event, change.environment);
  if (change.version) model.versions.set(change.version.version, change.version);
  if (change.environment) model.environments.set(change.environment.name, change.environment.state);
  rememberOutcome(model, event, revision);
  model.revision = revision;
  model.head = hash;
  model.time = event.time;
  return model;
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

/** What an event replaces in the model; the rules that its type must keep are checked on the way. */
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
  rule(isVersion(version), `${version} is not a version`);
  rule(!model.versions.has(version), `${version} was published before`);
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
  rule(version.status === from, `${name} is ${version.status}`);
  rule(to !== 'archived' || activeIn(model, name).length === 0, `${name} is active`);
  return { ...version, status: to };
}

type Moving = Extract<RegistryEvent, { type: 'version.activated' | 'version.rolled_back' | 'version.deactivated' }>;

function moved(model: Model, event: Moving, revision: number): EnvironmentChange {
  const { environment: name, previous, reason } = event.data;
  const before = environmentOf(model, name);
  rule(previous === (before.top?.version ?? null), `${previous} was not active in ${name}`);
  const movement = { revision, at: event.time, by: event.actor, reason };
  const state = { ...before, top: movedTop(model, before.top, event, revision), moved: movement };
  if (event.type === 'version.activated') {
    state.activations = [...before.activations.slice(1 - MAX_ACTIVATION_LIMIT), event.time];
  }
  return { name, state, moves: true };
}

function movedTop(model: Model, top: StackEntry | null, event: Moving, revision: number): StackEntry {
  if (event.type === 'version.rolled_back') return poppedTop(model, top, event.data);
  if (event.type === 'version.activated') {
    rule(known(model, event.data.version).status === 'ready', `${event.data.version} is archived`);
    rule(event.data.version !== event.data.previous, `${event.data.version} was active`);
  } else rule(event.data.previous !== null, 'nothing was active');
  return { revision, version: event.data.version, below: top };
}

function poppedTop(model: Model, top: StackEntry | null, data: EventData<'version.rolled_back'>): StackEntry {
  let target = top;
  for (const reverted of data.reverts) {
    rule(target?.revision === reverted, `${reverted} is not the next revision to revert`);
    rule(target === top || target.version !== data.version, `${data.version} is nearer than ${reverted}`);
    target = target.below;
  }
  rule(target !== top, 'nothing is reverted');
  rule(target !== null && target.version === data.version, `${data.version} is not what rolling back gives`);
  rule(data.version === null || known(model, data.version).status === 'ready', `${data.version} is archived`);
  return target;
}

function checkActiveMap(model: Model, event: RegistryEvent, change: EnvironmentChange | undefined): void {
  const top = change?.moves ? (change.state.top?.version ?? null) : null;
  const move = change?.moves
    ? { environment: change.name, target: top === null ? null : known(model, top) }
    : undefined;
  const given = event.data.active;
  const expected = activeMap(model, Object.keys(given), move);
  for (const [name, pointer] of Object.entries(expected)) {
    rule(samePointer(given[name], pointer ?? null), `its active map is wrong about ${name}`);
  }
}

function samePointer(a: ActivePointer | null | undefined, b: ActivePointer | null): boolean {
  if (!a || !b) return a === b;
  return (
    a.version === b.version &&
    a.manifest_digest === b.manifest_digest &&
    a.published_revision === b.published_revision &&
    a.revision === b.revision
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
  rule(state !== undefined, `${version} was never published`);
  return state;
}

function rule(holds: boolean, why: string): asserts holds {
  if (!holds) throw new RuleBroken(why);
}
