import {
  type ActiveMap,
  type ActivePointer,
  type EventData,
  isMove,
  type MoveEvent,
  type RegistryEvent,
} from './events.ts';
import {
  ACTIVATION_WINDOW_MS,
  activeIn,
  type Change,
  type EnvironmentState,
  entryBelow,
  environmentOf,
  MAX_ACTIVATION_LIMIT,
  type Model,
  type StackEntry,
  type VersionRecord,
  type VersionState,
} from './model.ts';
import { isVersion } from './versions.ts';

/** An event that the rules do not allow after the earlier events. The model's later events cannot be applied. */
export class RuleBroken extends Error {
  override readonly name = 'RuleBroken';
}

/**
 * Returns what one event changes in a model.
 *
 * @throws {RuleBroken} if the rules do not allow the event after the earlier ones
 */
export function evolve(model: Model, event: RegistryEvent, revision: number, hash: string): Change {
  if (revision <= model.revision) throw new RuleBroken(`revision ${revision} does not follow ${model.revision}`);
  const change = changeOf(model, event, revision);
  const moved = isMove(event) ? change.environment : undefined;
  checkActiveMap(model, event.data.active, moved);
  return { ...change, revision, head: hash, time: event.time };
}

/**
 * Passes an ignorable event of an unknown type. Loaders act on the `active` map of every event, so it must not differ.
 *
 * @throws {RuleBroken}
 */
export function skip(model: Model, active: ActiveMap, revision: number, hash: string): Change {
  checkActiveMap(model, active);
  return { revision, head: hash, time: null };
}

type OwnChange = Omit<Change, 'revision' | 'head' | 'time'>;

/** Returns what an event of this type changes. @throws {RuleBroken} if it breaks a rule of its type */
function changeOf(model: Model, event: RegistryEvent, revision: number): OwnChange {
  switch (event.type) {
    case 'version.published':
      return { published: published(model, event.data, event, revision) };
    case 'version.archived':
      return { status: withStatus(model, event.data.version, 'ready', 'archived') };
    case 'version.restored':
      return { status: withStatus(model, event.data.version, 'archived', 'ready') };
    case 'notes.changed': {
      const { version } = known(model, event.data.version);
      return { notes: { version, notes: event.data.notes } };
    }
    case 'runtime.declared': {
      const { environment: name, runtime } = event.data;
      return { environment: { name, state: { ...environmentOf(model, name), runtime } } };
    }
    default:
      return moved(model, event, revision);
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
  if (model.record(version)) throw new RuleBroken(`version ${version} was already published`);
  const by = { published_at: event.time, published_by: event.actor };
  return { version, status: 'ready', manifest, manifest_digest, notes, ...by, revision };
}

function withStatus(
  model: Model,
  name: string,
  from: VersionState['status'],
  to: VersionState['status'],
): Change['status'] & {} {
  const version = known(model, name);
  if (version.status !== from) throw new RuleBroken(`version ${name} is ${version.status}`);
  if (to === 'archived' && activeIn(model, name).length > 0) throw new RuleBroken(`version ${name} is active`);
  return { version: name, status: to };
}

function moved(model: Model, event: MoveEvent, revision: number): OwnChange {
  const { environment: name, previous, reason } = event.data;
  const before = environmentOf(model, name);
  const active = before.top?.version ?? null;
  if (previous !== active) throw new RuleBroken(`its previous version in ${name} is ${previous}, not ${active}`);
  const moved = { revision, at: event.time, by: event.actor, reason, request_id: event.request_id };
  if (event.type === 'version.rolled_back') {
    const top = poppedTop(model, before.top, event.data);
    return { environment: { name, state: { ...before, top, moved } } };
  }
  const pushed = pushedTop(model, before.top, event, revision);
  const activations = event.type === 'version.activated' ? withActivation(before, event.time) : before.activations;
  return { environment: { name, state: { ...before, top: pushed, moved, activations } }, pushed };
}

/** Keeps what the limit of activations a minute counts; no later decision is earlier than this event. */
function withActivation({ activations }: EnvironmentState, time: string): string[] {
  const since = Date.parse(time) - ACTIVATION_WINDOW_MS;
  const last = activations.slice(1 - MAX_ACTIVATION_LIMIT);
  const first = last.findIndex((at) => Date.parse(at) > since);
  return first === -1 ? [time] : [...last.slice(first), time];
}

function pushedTop(
  model: Model,
  top: StackEntry | null,
  event: Exclude<MoveEvent, { type: 'version.rolled_back' }>,
  revision: number,
): StackEntry {
  if (event.type === 'version.activated') {
    checkReady(known(model, event.data.version));
    if (event.data.version === event.data.previous) throw new RuleBroken(`${event.data.version} is already active`);
  } else if (event.data.previous === null) throw new RuleBroken('no version is active');
  return { revision, version: event.data.version, below: top?.revision ?? null };
}

function poppedTop(model: Model, top: StackEntry | null, data: EventData<'version.rolled_back'>): StackEntry {
  let target = top;
  for (const reverted of data.reverts) {
    if (target?.revision !== reverted) throw new RuleBroken(`revision ${reverted} is not the next one to revert`);
    if (target !== top && target.version === data.version) throw new RuleBroken('it reverts more than needed');
    target = entryBelow(model, target);
  }
  if (target === top) throw new RuleBroken('it reverts no revision');
  if (target?.version !== data.version) throw new RuleBroken(`its reverts do not lead to ${data.version}`);
  if (data.version !== null) checkReady(known(model, data.version));
  return target;
}

/** Compares the event's map with the state after the event, for every environment of the map or of the model. */
function checkActiveMap(model: Model, given: ActiveMap, moved?: Change['environment']): void {
  const names = new Set([...Object.keys(given), ...model.environments.keys()]);
  if (moved) names.add(moved.name);
  for (const name of names) {
    const state = moved?.name === name ? moved.state : environmentOf(model, name);
    const revision = state === moved?.state ? undefined : state.moved?.revision;
    const version = state.top?.version ?? null;
    if (!pointsTo(given[name], version === null ? null : known(model, version), revision)) {
      throw new RuleBroken(`its active map is wrong about ${name}`);
    }
  }
}

function pointsTo(
  pointer: ActivePointer | null | undefined,
  target: VersionRecord | null,
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

function known(model: Model, version: string): VersionRecord {
  const record = model.record(version);
  if (!record) throw new RuleBroken(`version ${version} was never published`);
  return record;
}

function checkReady({ version, status }: VersionRecord): void {
  if (status !== 'ready') throw new RuleBroken(`version ${version} is ${status}`);
}
