import { Problem } from '../../domain/errors.ts';
import type { Model, VersionState } from '../../domain/model.ts';

/** @throws {Problem} unknown-model if nothing was published yet */
export function requireModel(model: Model): void {
  if (model.versionCount === 0) throw new Problem('unknown-model', `There is no model ${model.name}.`);
}

/** @throws {Problem} unknown-model, unknown-version */
export function requireVersion(model: Model, version: string): VersionState {
  requireModel(model);
  const state = model.version(version);
  if (!state) throw new Problem('unknown-version', `${model.name} has no version ${version}.`);
  return state;
}

/** @throws {Problem} unknown-environment, with the configured ones in the detail and in `environments` */
export function requireEnvironment(environment: string, environments: readonly string[]): void {
  if (environments.includes(environment)) return;
  const detail = `There is no environment ${environment}; there are ${environments.join(', ')}.`;
  throw new Problem('unknown-environment', detail, { environments });
}
