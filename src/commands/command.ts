import { z } from 'zod';
import type { MissingArtifact } from '../artifacts/missing.ts';
import type { ArtifactStore } from '../artifacts/store.ts';
import { Problem } from '../domain/errors.ts';
import type { EventDraft } from '../domain/events.ts';
import type { Artifact } from '../domain/manifest.ts';
import type { Model, VersionState } from '../domain/model.ts';
import type { Runtime } from '../domain/requires.ts';

/** What a decision may know besides the model and its input; time and actor are handed in, so that it stays pure. */
export interface Context {
  /** RFC 3339, UTC, never earlier than the model's last event. */
  now: string;
  environments: readonly string[];
  /** Accepted activations a minute for a model and environment; 0 is no limit. */
  activationLimit: number;
  /** Those of the artefacts that the command `needs` whose bytes are not in the store. */
  missing: readonly MissingArtifact[];
  /** The model's loaders that were heard of lately. */
  loaders: readonly LiveLoader[];
}

/** A process that loads what becomes active, and what it runs. */
export interface LiveLoader {
  instance: string;
  environment: string;
  runtime: Runtime;
}

/** One event to append, or the revision of the event that says it already. */
export type Decision = { draft: EventDraft; warnings?: string[] } | { unchanged: number };

/** A command: what it takes, and the pure decision that refuses it (by throwing a `Problem`) or makes its one event. */
export interface Command<Input> {
  name: string;
  /** Leads back to safety: it has a limit of its own, so that it works in somebody's flood of other commands. */
  moves_back?: true;
  input: z.ZodType<Input>;
  /** Completes the input from bytes in the store, before anything is decided. */
  prepare?(input: Input, artifacts: ArtifactStore): Promise<Input>;
  /** The artefacts whose bytes must be there if the command is accepted. */
  needs?(model: Model, input: Input): readonly Artifact[];
  decide(model: Model, input: Input, context: Context): Decision;
}

export const Reason = z.string().trim().min(1).max(2000).meta({ example: 'recall dropped on the new traffic' });

/** The version a command names. @throws {Problem} unknown-model, unknown-version */
export function versionOf(model: Model, version: string): VersionState {
  if (model.versions.size === 0) throw new Problem('unknown-model', `There is no model ${model.name}.`);
  const state = model.versions.get(version);
  if (!state) throw new Problem('unknown-version', `${model.name} has no version ${version}.`);
  return state;
}

/** @throws {Problem} unknown-environment, naming those there are */
export function checkEnvironment(environment: string, environments: readonly string[]): void {
  if (environments.includes(environment)) return;
  const detail = `There is no environment ${environment}; there are ${environments.join(', ')}.`;
  throw new Problem('unknown-environment', detail, { environments });
}
