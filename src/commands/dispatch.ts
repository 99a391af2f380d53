import { setTimeout as sleep } from 'node:timers/promises';
import canonicalize from 'canonicalize';
import type { Collector } from '../artifacts/collector.ts';
import { type MissingArtifact, missingIn } from '../artifacts/missing.ts';
import type { ArtifactStore } from '../artifacts/store.ts';
import { sha256Hex } from '../domain/digest.ts';
import { Problem } from '../domain/errors.ts';
import type { EventDraft, RegistryEvent } from '../domain/events.ts';
import { type Model, outcomeKey } from '../domain/model.ts';
import { type Appended, append } from '../log/append.ts';
import { decodeEvent, encodeEvent } from '../log/codec.ts';
import type { Nats } from '../log/connection.ts';
import { type LogMessage, readNext } from '../log/read.ts';
import { keyedQueue } from '../structures/keyed-queue.ts';
import type { Command, LiveLoader } from './command.ts';
import type { WriteLimits } from './write-limits.ts';

/** Who gives a command, by a credential, and under which ids. */
export interface Caller {
  actor: string;
  request_id: string;
  idempotency_key?: string | undefined;
  /** A part of the registry itself, such as discovery: limits of callers do not hold. */
  internal?: true;
}

/** What became of a command: the event that says so (null where nothing had to change) and its revision. */
export interface Outcome {
  model: Model;
  event: RegistryEvent | null;
  revision: number;
  /** Whether this very call stored the event. */
  stored: boolean;
  warnings: string[];
}

/** What the dispatcher needs of the read model. */
export interface Folded {
  live(): boolean;
  model(name: string): Model;
  frozen(name: string): { revision: number; reason: string } | null;
  reached(revision: number): Promise<void>;
  /** Folds what was just appended here, without waiting for it to come back. */
  appended(message: LogMessage): void;
}

export interface DispatchOptions {
  nats: Nats;
  folded: Folded;
  artifacts: ArtifactStore;
  collector: Collector;
  environments: readonly string[];
  /** Accepted activations a minute; 0 is no limit. */
  activationLimit(model: string, environment: string): number;
  loaders(model: string): readonly LiveLoader[];
  writeLimits: WriteLimits;
  /** Told how long an append took, in seconds, whatever became of it. */
  appendTook(seconds: number): void;
  now(): Date;
  newId(): string;
}

export type Dispatch = <Input extends object>(
  command: Command<Input>,
  model: string,
  input: Input,
  caller: Caller,
) => Promise<Outcome>;

const CONFLICT_DEADLINE_MS = 10_000;

/**
 * Runs commands: decide, append, fold. Those of one model wait for one another here, since writers that only retry give
 * up one time in five; conflicts are left between servers, and decided again.
 */
export function createDispatch(options: DispatchOptions): Dispatch {
  const { nats, folded, artifacts, collector } = options;
  const enqueue = keyedQueue();

  return async (command, name, given, caller) => {
    const command_hash = hashOf(command.name, name, given);
    const earlier = await earlierOutcome(name, caller, command_hash);
    if (earlier) return earlier;
    const input = (await command.prepare?.(given, artifacts)) ?? given;
    return enqueue(name, () => untilStored(command, name, input, caller, command_hash));
  };

  async function untilStored<Input extends object>(
    command: Command<Input>,
    name: string,
    input: Input,
    caller: Caller,
    command_hash: string,
  ): Promise<Outcome> {
    const deadline = Date.now() + CONFLICT_DEADLINE_MS;
    do {
      const { revision } = folded.model(name);
      const outcome = (await earlierOutcome(name, caller, command_hash)) ?? (await attempt(revision));
      if (outcome) return outcome;
      await sleep(Math.random() * 50);
    } while (Date.now() < deadline);
    throw new Problem('conflict', `Other commands for ${name} kept getting in first; ask again.`);

    async function attempt(revision: number): Promise<Outcome | null> {
      const needed = command.needs?.(followed(name), input) ?? [];
      const unpin = collector.pin(needed.map(({ digest }) => digest));
      try {
        const missing = await missingIn(artifacts, needed);
        // Another server wrote while the store was asked: its event may be this very command's, under the same key.
        if (folded.model(name).revision !== revision) return null;
        return await decideAndAppend(command, name, input, caller, command_hash, missing);
      } finally {
        unpin();
      }
    }
  }

  /** Null after a conflict, with the event that won folded. */
  async function decideAndAppend<Input extends object>(
    command: Command<Input>,
    name: string,
    input: Input,
    caller: Caller,
    command_hash: string,
    missing: MissingArtifact[],
  ): Promise<Outcome | null> {
    const model = followed(name);
    const now = notBefore(model.time, options.now().toISOString());
    const { environments } = options;
    const activationLimit = 'environment' in input ? options.activationLimit(name, String(input.environment)) : 0;
    const loaders = options.loaders(name);
    const decision = command.decide(model, input, { now, environments, activationLimit, missing, loaders });
    if ('unchanged' in decision) {
      return { model, event: null, revision: decision.unchanged, stored: false, warnings: [] };
    }
    const warnings = decision.warnings ?? [];
    const event = eventOf(decision.draft, name, now, caller, command_hash);
    if ('dry_run' in input && input.dry_run) {
      return { model, event, revision: model.revision, stored: false, warnings };
    }
    const body = encodeEvent(event, model.head);
    const write = { model: name, actor: caller.actor, bytes: body.length, moves_back: command.moves_back === true };
    const giveBack = caller.internal ? () => {} : options.writeLimits.charge(write);
    const { outcome, revision } = await timedAppend(name, model.revision, body).catch((error: unknown) => {
      if (!(error instanceof Problem && error.code === 'outcome-unknown')) giveBack();
      throw error;
    });
    if (outcome === 'stored') folded.appended({ revision, model: name, body });
    else giveBack();
    await folded.reached(revision);
    return outcome === 'conflict' ? null : { model: folded.model(name), event, revision, stored: true, warnings };
  }

  async function timedAppend(...what: [model: string, expected: number, body: Uint8Array]): Promise<Appended> {
    const started = performance.now();
    try {
      return await append(nats, ...what);
    } finally {
      options.appendTook((performance.now() - started) / 1000);
    }
  }

  /** The model as folded here, if its log can be followed and written to. @throws {Problem} log-unavailable, log-corrupt */
  function followed(name: string): Model {
    if (!folded.live()) throw new Problem('log-unavailable', 'The log cannot be followed now; nothing was stored.');
    const frozen = folded.frozen(name);
    if (!frozen) return folded.model(name);
    const detail = `The log of ${name} cannot be followed past revision ${frozen.revision}: ${frozen.reason}.`;
    throw new Problem('log-corrupt', detail, { model: name, revision: frozen.revision });
  }

  /** The first outcome of the same command under the same key, told from its event. */
  async function earlierOutcome(name: string, caller: Caller, command_hash: string): Promise<Outcome | null> {
    if (caller.idempotency_key === undefined) return null;
    const model = folded.model(name);
    const earlier = model.outcomes.get(outcomeKey(caller.actor, caller.idempotency_key));
    if (!earlier) return null;
    if (earlier.command_hash !== command_hash) {
      throw new Problem('idempotency-key-reused', 'The idempotency key came before with another command.');
    }
    const message = await readNext(nats, name, earlier.revision - 1).catch((cause: unknown) => {
      throw new Problem('log-unavailable', 'The log cannot be read now; ask again for the first outcome.', {}, cause);
    });
    const { event } = decodeEvent(message!.body);
    return { model, event, revision: earlier.revision, stored: false, warnings: [] };
  }

  function eventOf(
    { type, data }: EventDraft,
    model: string,
    time: string,
    { actor, request_id, idempotency_key: key }: Caller,
    command_hash: string,
  ): RegistryEvent {
    const event = { type, model, id: options.newId(), time, actor, request_id, data };
    return (key === undefined ? event : { ...event, idempotency: { key, command_hash } }) as RegistryEvent;
  }
}

function hashOf(command: string, model: string, input: object): string {
  try {
    return sha256Hex(canonicalize([command, model, input])!);
  } catch (cause) {
    // RFC 8785 has no form for text that is not Unicode, and neither has a log.
    throw new Problem('invalid-request', 'The request holds text that is not well-formed Unicode.', {}, cause);
  }
}

/** Times of one model never go backwards, whatever the clocks of its servers do. */
function notBefore(earliest: string, now: string): string {
  return now > earliest ? now : earliest;
}
