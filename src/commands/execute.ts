import { setTimeout as sleep } from 'node:timers/promises';
import { authorize } from '../access/authorize.ts';
import type { BlobAccess } from '../access/blob-access.ts';
import type { Policy } from '../access/policy.ts';
import type { Artifacts } from '../artifacts/artifacts.ts';
import type { Collector } from '../artifacts/collector.ts';
import { missingIn } from '../artifacts/missing.ts';
import type { References } from '../artifacts/references/references.ts';
import { Problem } from '../domain/errors.ts';
import { type EventDraft, type RegistryEvent, versionOf } from '../domain/events.ts';
import type { Artifact } from '../domain/manifest.ts';
import type { Model } from '../domain/model.ts';
import type { Reference } from '../domain/reference.ts';
import { type Appended, append } from '../log/append.ts';
import { encodeEvent } from '../log/codec.ts';
import type { Nats } from '../log/connection.ts';
import type { LogMessage } from '../log/read.ts';
import type { Servers } from '../log/servers.ts';
import { keyedQueue } from '../structures/keyed-queue.ts';
import type { Command, Context, LiveLoader } from './command.ts';
import { earlierOutcome, hashOf } from './idempotency.ts';
import type { Issuer } from './issuer.ts';
import { afterStoring, type Outcome } from './outcome.ts';
import { requireOwnBytes } from './rules/bytes.ts';
import { checkReadable } from './rules/readable.ts';
import type { WriteLimits } from './write-limits.ts';

/** What executing a command needs of the read model. */
export interface Folded {
  live(): boolean;
  model(name: string): Model;
  frozen(name: string): { revision: number; reason: string } | null;
  /** Resolves when a revision is folded. */
  reached(revision: number): Promise<void>;
  /** Folds an event that was just appended here, without waiting for the tail to deliver it. */
  appended(message: LogMessage): void;
}

export interface ExecuteOptions {
  nats: Nats;
  folded: Folded;
  artifacts: Pick<Artifacts, 'store' | 'reads'>;
  references: Pick<References, 'verify' | 'withFound'>;
  collector: Collector;
  policy: Policy;
  blobAccess: BlobAccess;
  environments: readonly string[];
  /** Accepted activations a minute; 0 means no limit. */
  activationLimit(model: string, environment: string): number;
  loaders(model: string): readonly LiveLoader[];
  writeLimits: WriteLimits;
  unableToRead: Servers['unableToRead'];
  /** Called with the duration of each append in seconds, whatever its outcome. */
  appendTook(seconds: number): void;
  now(): Date;
  newId(): string;
}

export type Execute = <Input extends object>(
  command: Command<Input>,
  model: string,
  input: Input,
  issuer: Issuer,
) => Promise<Outcome>;

const CONFLICT_DEADLINE_MS = 10_000;

/**
 * The one way to give a command, whatever interface it comes through: check the caller's rights, look up the idempotency
 * key, wait for the model's turn, decide, append, fold.
 *
 * Commands of one model wait for one another here, because writers that only retry give up one time in five. Between
 * servers conflicts remain possible; after one, the command is decided again.
 */
export function createExecute(options: ExecuteOptions): Execute {
  const { nats, folded, artifacts, references, collector } = options;
  const enqueue = keyedQueue();

  return async (command, name, given, issuer) => {
    const sources = command.sources?.(folded.model(name), given) ?? [];
    checkRights(command, name, given, issuer, sources);
    const command_hash = hashOf(command.name, name, given);
    const earlier = await earlierOutcome(nats, folded.model(name), issuer, command_hash);
    if (earlier) return earlier;
    // Not in the model's turn: other commands would wait for minutes.
    const verified = sources.length === 0 ? [] : await references.verify(sources);
    // Otherwise it could not repeat the command, once the version exists.
    for (const { digest } of verified) options.blobAccess.sent(issuer.identity.actor, digest);
    const reads = verified.length === 0 ? artifacts.reads : references.withFound(artifacts.reads, verified);
    const input = (await command.prepare?.(given, reads)) ?? given;
    return enqueue(name, () => untilStored(command, name, input, issuer, command_hash, verified));
  };

  /** @throws {Problem} forbidden, artifact-missing */
  function checkRights<Input>(
    command: Command<Input>,
    model: string,
    input: Input,
    issuer: Issuer,
    sources: readonly Artifact[],
  ): void {
    if (issuer.internal) return;
    const environment = command.environment?.(input);
    for (const permission of [command.permission, ...(command.alsoNeeds?.(input) ?? [])]) {
      authorize(options.policy, issuer.identity, { permission, model, environment });
    }
    const others = command.refersTo?.(input).filter((artifact) => !sources.includes(artifact)) ?? [];
    requireOwnBytes(others, issuer.identity, options.blobAccess);
  }

  async function untilStored<Input extends object>(
    command: Command<Input>,
    name: string,
    input: Input,
    issuer: Issuer,
    command_hash: string,
    verified: readonly Reference[],
  ): Promise<Outcome> {
    const deadline = Date.now() + CONFLICT_DEADLINE_MS;
    do {
      const { revision } = folded.model(name);
      const earlier = await earlierOutcome(nats, folded.model(name), issuer, command_hash);
      const outcome = earlier ?? (await attempt(revision));
      if (outcome) return outcome;
      await sleep(Math.random() * 50);
    } while (Date.now() < deadline);
    throw new Problem('conflict', `Other commands for ${name} kept getting in first; try again.`);

    async function attempt(revision: number): Promise<Outcome | null> {
      const needed = command.needs?.(followed(name), input) ?? [];
      const unpin = await collector.pin(needed.map(({ digest }) => digest));
      try {
        // What a version refers to already is not deleted, so a copy is enough, and the store may be unavailable.
        const missing = await missingIn(command.refersTo ? artifacts.store : artifacts.reads, needed);
        // Another server may have written in the meantime. Its event may be this very command's, under the same key.
        if (folded.model(name).revision !== revision) return null;
        return await decideAndAppend(command, name, input, issuer, command_hash, { missing, verified });
      } finally {
        unpin();
      }
    }
  }

  /** Null after a conflict; the event that won is folded then. */
  async function decideAndAppend<Input extends object>(
    command: Command<Input>,
    name: string,
    input: Input,
    issuer: Issuer,
    command_hash: string,
    facts: Pick<Context, 'missing' | 'verified'>,
  ): Promise<Outcome | null> {
    const model = followed(name);
    const now = notBefore(model.time, options.now().toISOString());
    const decision = command.decide(model, input, { now, ...facts, ...contextOf(name, command.environment?.(input)) });
    if ('unchanged' in decision) {
      return { model, event: null, revision: decision.unchanged, stored: false, warnings: [], checks: [] };
    }
    const { draft, warnings = [], checks = [] } = decision;
    const event = eventOf(draft, name, now, issuer, command_hash);
    const version = versionOf(event);
    checkReadable(event, version, options.unableToRead(event.type, version));
    if (command.isDryRun?.(input)) {
      return { model, event, revision: model.revision, stored: false, warnings, checks };
    }
    const revision = await store(event, model, command, issuer);
    if (revision === null) return null;
    return { model: afterStoring(() => folded.model(name)), event, revision, stored: true, warnings, checks };
  }

  function contextOf(model: string, environment: string | undefined) {
    const { environments } = options;
    if (environment === undefined) return { environments, activationLimit: 0, loaders: [] };
    const activationLimit = options.activationLimit(model, environment);
    return { environments, activationLimit, loaders: options.loaders(model) };
  }

  /** Appends an event and folds it; null after a conflict. Writes that were not stored do not count for the limits. */
  async function store(
    event: RegistryEvent,
    { name, head, revision: expected }: Model,
    { moves_back = false }: { moves_back?: boolean },
    { identity, internal }: Issuer,
  ): Promise<number | null> {
    const body = encodeEvent(event, head);
    const write = { model: name, actor: identity.actor, bytes: body.length, moves_back };
    const giveBack = internal ? () => {} : options.writeLimits.charge(write);
    const { outcome, revision } = await timedAppend(name, expected, body).catch((error: unknown) => {
      if (!(error instanceof Problem && error.code === 'outcome-unknown')) giveBack();
      throw error;
    });
    if (outcome === 'stored') folded.appended({ revision, model: name, body });
    else giveBack();
    await folded.reached(revision);
    return outcome === 'conflict' ? null : revision;
  }

  async function timedAppend(model: string, expected: number, body: Uint8Array): Promise<Appended> {
    const started = performance.now();
    try {
      return await append(nats, model, expected, body);
    } finally {
      options.appendTook((performance.now() - started) / 1000);
    }
  }

  /** The model, if its log can be followed and written to. @throws {Problem} log-unavailable, log-corrupt */
  function followed(name: string): Model {
    if (!folded.live()) throw new Problem('log-unavailable', 'NATS cannot be reached; nothing was stored. Try again.');
    const frozen = folded.frozen(name);
    if (!frozen) return folded.model(name);
    const detail = `The log of ${name} cannot be followed past revision ${frozen.revision}: ${frozen.reason}.`;
    throw new Problem('log-corrupt', detail, { model: name, revision: frozen.revision });
  }

  function eventOf(
    { type, data, ignorable }: EventDraft,
    model: string,
    time: string,
    { identity, request_id, idempotency_key: key }: Issuer,
    command_hash: string,
  ): RegistryEvent {
    const event = { type, model, id: options.newId(), time, actor: identity.actor, request_id, data };
    const idempotency = key === undefined ? {} : { idempotency: { key, command_hash } };
    return { ...event, ...(ignorable && { ignorable }), ...idempotency } as RegistryEvent;
  }
}

/** Times of one model never go backwards, whatever the clocks of its servers do. */
function notBefore(earliest: string, now: string): string {
  return now > earliest ? now : earliest;
}
