import semver from 'semver';
import { Misfit } from '../finding.ts';
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
 * How much of an environment's stack is kept, so that memory does not grow with every move. A rollback to what lies
 * deeper is believed.
 */
export const MAX_STACK = 10_000;

/**
 * Holds an event against the rules and, if it keeps them, lets it happen.
 *
 * @throws {Misfit} before anything has happened
 */
export function follow(model: ModelState, event: AuditEvent): void {
  if (event.at < model.at) throw new Misfit('time', 'It is older than the event before it.', model.time, event.time);
  const happen = ruled(model, event);
  checkActive(model, event);
  happen();
  const { revision, hash, time, at } = event;
  Object.assign(model, { revision, hash, time, at, named: Object.keys(event.data.active) });
}

function ruled(model: ModelState, event: AuditEvent): () => void {
  switch (event.type) {
    case 'version.published':
      return publication(model, event);
    case 'version.activated':
    case 'version.deactivated':
    case 'version.rolled_back':
      return move(model, event);
    case 'version.archived':
    case 'version.restored':
      return shelving(model, event);
    case 'notes.changed':
      return noting(model, event);
    case 'runtime.declared':
      return declaration(model, event);
  }
}

/** A version is published once, under a canonical name. */
function publication(model: ModelState, { data, revision, time, actor }: Published): () => void {
  const { version, manifest, manifest_digest, notes } = data;
  if (version.length > 128 || semver.parse(version)?.version !== version) {
    throw new Misfit('rules', `${version} is no canonical semantic version.`);
  }
  const before = model.versions.get(version);
  if (before) throw new Misfit('rules', `${version} was published before, at revision ${before.revision}.`);
  const said = { version, notes, published_at: time, published_by: actor, revision, manifest_digest, manifest };
  return () => model.versions.set(version, { ...said, status: 'ready' });
}

/** Whatever moves an environment says truly what was active there, and leaves a version active that may be. */
function move(model: ModelState, event: Move): () => void {
  const { environment: name, previous, reason, version } = event.data;
  const active = activeIn(model, name);
  if (previous !== active) throw new Misfit('rules', `What was active in ${name} before is another.`, active, previous);
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
  if (event.type === 'version.rolled_back') return popped(environment, event);
  const { revision } = event;
  const { version, previous } = event.data;
  if (version === previous) {
    throw new Misfit(
      'rules',
      version === null ? 'Nothing was active that could be taken away.' : `${version} was active.`,
    );
  }
  return (stack) => stack.push({ revision, version });
}

/** Of an entry that was believed. */
const UNKNOWN = 0;

/** A rollback undoes the newest moves, at least one, and what is then on top is active; it stops at the first that fits. */
function popped({ stack, cut }: EnvironmentState, { data }: RolledBack): StackChange {
  const { reverts, version } = data;
  const kept = stack.length - reverts.length;
  const undone = stack.slice(Math.max(kept, 0)).map(({ revision }) => revision);
  const told = [...reverts].reverse().slice(-undone.length);
  const agrees = undone.every((revision, i) => revision === UNKNOWN || revision === told[i]);
  if (agrees && kept <= 0 && cut) return () => stack.splice(0, stack.length, { revision: UNKNOWN, version });
  if (!agrees || kept <= 0) {
    throw new Misfit('rules', 'It does not undo the newest moves.', undone.reverse(), reverts);
  }
  const target = stack[kept - 1]!.version;
  if (target !== version) throw new Misfit('rules', 'What it goes back to is not what was there.', target, version);
  const passed = stack.slice(kept, -1).findLast((entry) => entry.version === version);
  if (passed) throw new Misfit('rules', `It passes over ${version} at revision ${passed.revision}.`);
  return () => stack.splice(kept);
}

/** The runtime gate stands wherever a runtime was declared; whether it let through what fits is not asked again. */
function checkGate({ runtime }: EnvironmentState, event: Move): void {
  if (event.type === 'version.deactivated') return;
  const { version, runtime_checked } = event.data;
  const expected = version !== null && runtime !== null;
  if (runtime_checked === expected) return;
  const what = expected
    ? 'A runtime was declared, and not checked.'
    : 'It says that a runtime was checked; there was none.';
  throw new Misfit('rules', what, expected, runtime_checked);
}

function checkReady(model: ModelState, version: string): void {
  if (known(model, version).status === 'archived') throw new Misfit('rules', `${version} is archived.`);
}

/** What is active anywhere is not archived, and nothing is archived or restored twice. */
function shelving(model: ModelState, { type, data }: Archived): () => void {
  const version = known(model, data.version);
  const status = type === 'version.archived' ? 'archived' : 'ready';
  if (version.status === status) throw new Misfit('rules', `${version.version} is ${status} already.`);
  const places = status === 'archived' ? placesOf(model, version.version) : [];
  if (places.length > 0) throw new Misfit('rules', `${version.version} is active in ${places.join(', ')}.`);
  return () => model.versions.set(version.version, { ...version, status });
}

function noting(model: ModelState, { data }: Noted): () => void {
  const version = known(model, data.version);
  return () => model.versions.set(version.version, { ...version, notes: data.notes });
}

function declaration(model: ModelState, { data }: Declared): () => void {
  if (model.versions.size === 0) throw new Misfit('rules', 'Nothing was ever published.');
  return () => {
    const environment = model.environments.get(data.environment) ?? newEnvironment();
    model.environments.set(data.environment, { ...environment, runtime: data.runtime });
  };
}

function known(model: ModelState, version: string): VersionState {
  const state = model.versions.get(version);
  if (state) return state;
  throw new Misfit('rules', `${version} was never published.`);
}
