import { z } from 'zod';
import type { Reads } from '../artifacts/artifacts.ts';
import type { MissingArtifact } from '../artifacts/missing.ts';
import type { EventDraft } from '../domain/events.ts';
import type { Artifact } from '../domain/manifest.ts';
import type { Model } from '../domain/model.ts';
import type { Permission } from '../domain/permissions.ts';
import type { Reference, Referred } from '../domain/reference.ts';
import type { Runtime } from '../domain/requires.ts';
import type { Check } from './rules/check.ts';

/** The facts that a decision may use besides the model and the input. They are passed in, so that a decision is pure. */
export interface Context {
  /** RFC 3339, UTC, never earlier than the model's last event. */
  now: string;
  environments: readonly string[];
  /** Accepted activations a minute for the model and environment; 0 means no limit. */
  activationLimit: number;
  /** The artifacts among those that the command `needs` whose bytes are not in the store. */
  missing: readonly MissingArtifact[];
  /** The objects outside of the store that were read and have the bytes that the command's `sources` state. */
  verified: readonly Reference[];
  /** The model's live loaders, for commands that declare an environment. */
  loaders: readonly LiveLoader[];
}

/** A process that loads the active version of an environment, and what it runs. */
export interface LiveLoader {
  instance: string;
  environment: string;
  runtime: Runtime;
}

/** One event to append, or the revision of the event that already states the same. */
export type Decision = { draft: EventDraft; warnings?: string[]; checks?: readonly Check[] } | { unchanged: number };

/** A command: its input, what it needs, and the pure decision that makes its one event or refuses. */
export interface Command<Input> {
  /** Part of the hash under which the outcome of an idempotency key is kept, so it never changes. */
  name: string;
  /** The permission that the caller needs for the model, and for the environment if there is one. */
  permission: Permission;
  /** The command leads back to a safe state. It has a limit of its own, so that a flood of others cannot block it. */
  moves_back?: true;
  input: z.ZodType<Input>;
  /** The environment that the command moves or describes. */
  environment?(input: Input): string;
  /** Further permissions that this input needs, such as `force`. */
  alsoNeeds?(input: Input): readonly Permission[];
  /** True if the caller wants the decision only: no event is stored. */
  isDryRun?(input: Input): boolean;
  /** Artifacts that the caller refers to by digest. The caller must have sent their bytes, or be allowed to read them. */
  refersTo?(input: Input): readonly Artifact[];
  /** The artifacts among them whose sources must be read first, which may take minutes. The caller need not have sent their bytes. */
  sources?(model: Model, input: Input): readonly Referred[];
  /** Completes the input from bytes that exist, before the decision. */
  prepare?(input: Input, reads: Reads): Promise<Input>;
  /** The artifacts whose bytes must be in the store. The collector spares them until the event is stored. */
  needs?(model: Model, input: Input): readonly Artifact[];
  /** @throws {Problem} to refuse the command */
  decide(model: Model, input: Input, context: Context): Decision;
}

export const Reason = z.string().trim().min(1).max(2000).meta({ example: 'recall dropped on the new traffic' });
