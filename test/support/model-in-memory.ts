import type { RegistryEvent } from '../../src/domain/events.ts';
import { evolve } from '../../src/domain/evolve.ts';
import {
  type Change,
  type EnvironmentState,
  IDEMPOTENCY_WINDOW_MS,
  type KeptOutcome,
  type Model,
  NO_HEAD,
  type StackEntry,
  type VersionState,
} from '../../src/domain/model.ts';
import { preferred } from '../../src/domain/versions.ts';

/** A model in plain maps. It is changed by `apply`, so that a test can keep one object over a whole history. */
export class ModelInMemory implements Model {
  readonly name: string;
  revision = 0;
  head = NO_HEAD;
  time = '';
  readonly versions = new Map<string, VersionState>();
  readonly environments = new Map<string, EnvironmentState>();
  readonly stacks = new Map<number, StackEntry>();
  readonly outcomes = new Map<string, KeptOutcome & { at: number }>();

  constructor(name: string) {
    this.name = name;
  }

  get versionCount(): number {
    return this.versions.size;
  }

  get latest(): string | null {
    const ready = [...this.versions.values()].filter(({ status }) => status === 'ready');
    return ready.map(({ version }) => version).reduce<string | null>(preferred, null);
  }

  get highest(): string | null {
    return [...this.versions.keys()].reduce<string | null>(preferred, null);
  }

  version(version: string): VersionState | null {
    return this.versions.get(version) ?? null;
  }

  record(version: string): VersionState | null {
    return this.version(version);
  }

  pushed(revision: number): StackEntry {
    const entry = this.stacks.get(revision);
    if (!entry) throw new Error(`revision ${revision} pushed nothing`);
    return entry;
  }

  outcome(actor: string, key: string): KeptOutcome | null {
    const found = this.outcomes.get(JSON.stringify([actor, key]));
    if (!found || found.at <= Date.parse(this.time) - IDEMPOTENCY_WINDOW_MS) return null;
    return { command_hash: found.command_hash, revision: found.revision };
  }

  /** Follows an event. @throws {RuleBroken} before anything is changed */
  follow(event: RegistryEvent, revision: number, hash: string): this {
    return this.apply(evolve(this, event, revision, hash), event);
  }

  private apply(
    change: Change,
    { actor, time, idempotency }: Pick<RegistryEvent, 'actor' | 'time' | 'idempotency'>,
  ): this {
    const { revision, published, status, notes, environment, pushed } = change;
    if (published) this.versions.set(published.version, published);
    for (const part of [status, notes]) {
      if (part) this.versions.set(part.version, { ...this.versions.get(part.version)!, ...part });
    }
    if (environment) this.environments.set(environment.name, environment.state);
    if (pushed) this.stacks.set(revision, pushed);
    if (idempotency) {
      const { key, command_hash } = idempotency;
      this.outcomes.set(JSON.stringify([actor, key]), { command_hash, revision, at: Date.parse(time) });
    }
    this.revision = revision;
    this.head = change.head;
    this.time = change.time ?? this.time;
    return this;
  }
}
