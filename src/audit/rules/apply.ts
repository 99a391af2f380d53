import semver from 'semver';
import { Violation } from '../finding.ts';
import { checkActive } from './active.ts';
import type { Archived, AuditEvent, Declared, Move, Noted, Published, RolledBack } from './event.ts';
import {
  activeIn,
  type EnvironmentState,
  type ModelState,
  newEnvironment,
  placesOf,
  type VersionState,
} from './state.ts';

/**
 * The number of moves that are kept of an environment, so that memory does not grow with every move. A rollback to an
 * older move is accepted unchecked.
 */
export const MAX_STACK = 10_000;

/**
 * Checks an event against the registry's rules, and applies it to the model.
 *
 * @throws {Violation} before the model is changed
 */
export function applyEvent(model: ModelState, event: AuditEvent): void {
  if (event.at < model.at)
    throw new Violation('time', 'It is earlier than the event before it.', model.time, event.time);
  const change = checkRules(model, event);
  checkActive(model, event);
  change();
  const { revision, hash, time, at } = event;
  Object.assign(model, { revision, hash, time, at, named: Object.keys(event.data.active) });
}

/** Returns the change that the event makes. */
function checkRules(model: ModelState, event: AuditEvent): () => void {
  switch (event.type) {
    case 'version.published':
      return publish(model, event);
    case 'version.activated':
    case 'version.deactivated':
    case 'version.rolled_back':
      return move(model, event);
    case 'version.archived':
    case 'version.restored':
      return setStatus(model, event);
    case 'notes.changed':
      return setNotes(model, event);
    case 'runtime.declared':
      return declareRuntime(model, event);
  }
}

/** A version is published once, under a canonical name. */
function publish(model: ModelState, { data, revision, time, actor }: Published): () => void {
  const { version, manifest, manifest_digest, notes } = data;
  if (version.length > 128 || semver.parse(version)?.version !== version) {
    throw wrong(`${version} is not a canonical semantic version.`);
  }
  const before = model.versions.get(version);
  if (before) throw wrong(`${version} was already published at revision ${before.revision}.`);
  const published = { version, notes, published_at: time, published_by: actor, revision, manifest_digest, manifest };
  return () => model.versions.set(version, { ...published, status: 'ready' });
}

/** `previous` is the version that was active, and the new active version exists and is not archived. */
function move(model: ModelState, event: Move): () => void {
  const { environment: name, previous, reason, version } = event.data;
  const active = activeIn(model, name);
  if (previous !== active) throw wrong(`Its data’s previous was not active in ${name}.`, active, previous);
  if (version !== null) checkReady(model, version);
  const environment = model.environments.get(name) ?? newEnvironment();
  const change = stackChange(environment, event);
  checkGate(environment, event);
  const { type, revision, time: at, actor: by } = event;
  return () => {
    change(environment.stack);
    if (environment.stack.length > MAX_STACK) {
      environment.stack.splice(0, MAX_STACK / 2);
      environment.cut = true;
    }
    environment.moved = { type, revision, at, by, reason };
    model.environments.set(name, environment);
  };
}

type StackChange = (stack: EnvironmentState['stack']) => void;

function stackChange(environment: EnvironmentState, event: Move): StackChange {
  if (event.type === 'version.rolled_back') return rollback(environment, event);
  const { revision } = event;
  const { version, previous } = event.data;
  if (version === previous) throw wrong(version === null ? 'No version was active.' : `${version} was already active.`);
  return (stack) => stack.push({ revision, version });
}

/** The revision of a stack entry that was accepted unchecked. */
const UNKNOWN = 0;

/** A rollback undoes the newest moves, at least one and no more than needed to reach its version. */
function rollback({ stack, cut }: EnvironmentState, { data }: RolledBack): StackChange {
  const { reverts, version } = data;
  const kept = stack.length - reverts.length;
  const undone = stack.slice(Math.max(kept, 0)).map(({ revision }) => revision);
  const stated = [...reverts].reverse().slice(-undone.length);
  const agrees = undone.every((revision, i) => revision === UNKNOWN || revision === stated[i]);
  if (agrees && kept <= 0 && cut) return () => stack.splice(0, stack.length, { revision: UNKNOWN, version });
  if (!agrees || kept <= 0) {
    throw wrong('The rollback does not undo the newest moves.', undone.reverse(), reverts);
  }
  const target = stack[kept - 1]!.version;
  if (target !== version) throw wrong('The rollback ends at the wrong version.', target, version);
  const passed = stack.slice(kept, -1).findLast((entry) => entry.version === version);
  if (passed) throw wrong(`The rollback skips ${version} at revision ${passed.revision}.`);
  return () => stack.splice(kept);
}

/** The runtime is checked if one was declared. Whether the version's requirements fit it is not checked again here. */
function checkGate({ runtime }: EnvironmentState, event: Move): void {
  if (event.type === 'version.deactivated') return;
  const { version, runtime_checked } = event.data;
  const expected = version !== null && runtime !== null;
  if (runtime_checked === expected) return;
  const what = expected
    ? 'A runtime was declared, but runtime_checked is false.'
    : 'No runtime was declared, but runtime_checked is true.';
  throw wrong(what, expected, runtime_checked);
}

function checkReady(model: ModelState, version: string): void {
  if (known(model, version).status === 'archived') throw wrong(`${version} is archived.`);
}

/** An active version is not archived, and no version is archived or unarchived twice. */
function setStatus(model: ModelState, { type, data }: Archived): () => void {
  const version = known(model, data.version);
  const status = type === 'version.archived' ? 'archived' : 'ready';
  if (version.status === status) throw wrong(`${version.version} is already ${status}.`);
  const places = status === 'archived' ? placesOf(model, version.version) : [];
  if (places.length > 0) throw wrong(`${version.version} is active in ${places.join(', ')}.`);
  return () => model.versions.set(version.version, { ...version, status });
}

function setNotes(model: ModelState, { data }: Noted): () => void {
  const version = known(model, data.version);
  return () => model.versions.set(version.version, { ...version, notes: data.notes });
}

function declareRuntime(model: ModelState, { data }: Declared): () => void {
  if (model.versions.size === 0) throw wrong('No version of the model was published.');
  return () => {
    const environment = model.environments.get(data.environment) ?? newEnvironment();
    model.environments.set(data.environment, { ...environment, runtime: data.runtime });
  };
}

function known(model: ModelState, version: string): VersionState {
  const state = model.versions.get(version);
  if (state) return state;
  throw wrong(`${version} was never published.`);
}

function wrong(what: string, expected: unknown = null, actual: unknown = null): Violation {
  return new Violation('rules', what, expected, actual);
}
