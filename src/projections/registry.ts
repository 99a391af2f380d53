import { createHash, type Hash } from 'node:crypto';
import type { Digest } from '../domain/digest.ts';
import type { EventType, RegistryEvent } from '../domain/events.ts';
import { evolve, RuleBroken, skip } from '../domain/evolve.ts';
import { initialModel, type Model, NO_HEAD } from '../domain/model.ts';
import { isModelName } from '../domain/names.ts';
import { decodeEvent, Undecodable } from '../log/codec.ts';
import { type LogPosition, START } from '../log/identity.ts';
import { hashOf, type LogMessage } from '../log/read.ts';

/** An event in the index; its content stays in the log. */
export interface HistoryEntry {
  revision: number;
  type: EventType;
  /** Milliseconds since 1970, which take half the memory of the text. */
  at: number;
  actor: string;
  environment: string | null;
  version: string | null;
  previous: string | null;
}

export interface ModelEntry {
  model: Model;
  /** Oldest first. */
  history: HistoryEntry[];
  /** The event that cannot be applied: the model stays as it was before it. */
  frozen: { revision: number; reason: string } | null;
  /** The model's last message and the hash of its body, even if it cannot be applied. */
  last: { revision: number; hash: string };
}

/** The read model: the fold of every model, and the position in the log. */
export interface Registry {
  position: LogPosition;
  models: Map<string, ModelEntry>;
  /** Hashes `<revision> <model> <hash>\n` of every message: a checkpoint states their order by it. */
  order: Hash;
  /** The names of actors, shared by the index: each event that is read has a copy of its own. */
  actors: Map<string, string>;
}

export function emptyRegistry(generation = 0): Registry {
  return { position: { ...START, generation }, models: new Map(), order: createHash('sha256'), actors: new Map() };
}

/** Returns a model's entry; for an unknown name, an entry without events. */
export function entryOf(registry: Registry, name: string): ModelEntry {
  return (
    registry.models.get(name) ?? {
      model: initialModel(name),
      history: [],
      frozen: null,
      last: { revision: 0, hash: NO_HEAD },
    }
  );
}

/** Folds the next message of the log and returns its event; null if it freezes its model or is ignored. */
export function applyMessage(registry: Registry, message: LogMessage): RegistryEvent | null {
  const hash = hashOf(message.body);
  let entry = registry.models.get(message.model);
  if (!entry) {
    entry = entryOf(registry, message.model);
    registry.models.set(message.model, entry);
  }
  const event = entry.frozen ? null : applyTo(entry, message, hash);
  if (event) entry.history.push(historyEntry(event, message.revision, registry.actors));
  const { generation, epoch } = registry.position;
  const { revision } = message;
  entry.last = { revision, hash };
  registry.order.update(`${revision} ${message.model} ${hash}\n`);
  registry.position = { generation, epoch: epoch ?? (revision === 1 ? hash : null), revision, hash };
  return event;
}

/** A message that does not decode, breaks the chain or breaks a rule freezes the model; it is never skipped. */
function applyTo(entry: ModelEntry, { model: name, revision, body }: LogMessage, hash: string): RegistryEvent | null {
  try {
    if (entry.model.revision === 0 && !isModelName(name)) throw new Undecodable(`${name} is not a model's name`);
    const decoded = decodeEvent(body);
    const { event, prevhash } = decoded;
    if (prevhash !== entry.model.head) throw new Undecodable('it does not follow the model’s previous event');
    if (decoded.event === null) skip(entry.model, decoded.active, revision, hash);
    else applyEvent(entry, decoded.event, revision, hash);
    return event;
  } catch (error) {
    if (!(error instanceof Undecodable || error instanceof RuleBroken)) throw error;
    entry.frozen = { revision, reason: error.message };
    return null;
  }
}

function applyEvent(entry: ModelEntry, event: RegistryEvent, revision: number, hash: string): void {
  if (event.model !== entry.model.name) throw new Undecodable(`it is about another model, ${event.model}`);
  if (event.time < entry.model.time) throw new Undecodable('it is older than the model’s previous event');
  evolve(entry.model, event, revision, hash);
}

function historyEntry(
  { type, data, time, actor }: RegistryEvent,
  revision: number,
  actors: Map<string, string>,
): HistoryEntry {
  const shared = actors.get(actor) ?? actor;
  actors.set(shared, shared);
  return {
    revision,
    type,
    at: Date.parse(time),
    actor: shared,
    environment: 'environment' in data ? (data.environment as string) : null,
    version: 'version' in data ? (data.version as string | null) : null,
    previous: 'previous' in data ? (data.previous as string | null) : null,
  };
}

export function* modelsOf({ models }: Registry): Generator<Model> {
  for (const { model } of models.values()) yield model;
}

/** Returns the number of frozen models. Their later events are unknown here, and may publish versions. */
export function frozenCount(registry: Registry): number {
  return [...registry.models.values()].filter(({ frozen }) => frozen !== null).length;
}

/** Returns every digest that a published version refers to. */
export function referencedDigests(registry: Registry): Set<Digest> {
  const digests = new Set<Digest>();
  for (const { model } of registry.models.values()) {
    for (const { manifest } of model.versions.values()) {
      for (const { digest } of manifest.artifacts) digests.add(digest);
    }
  }
  return digests;
}
