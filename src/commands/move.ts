import { z } from 'zod';
import { Problem } from '../domain/errors.ts';
import { type EnvironmentState, environmentOf, type Model, type VersionState } from '../domain/model.ts';
import { EnvironmentName } from '../domain/names.ts';
import { checkRuntime, type Runtime } from '../domain/requires.ts';
import { Version } from '../domain/versions.ts';
import type { Context } from './command.ts';

/** What activation and rollback share: which environment, what the caller believes is active there, and rehearsing. */
export const Environment = EnvironmentName.default('production');
export const ExpectedActive = Version.nullable().meta({ description: 'The version believed active; null for none' });
export const DryRun = z.boolean().default(false);

/** @throws {Problem} active-changed, naming the event that won */
export function checkExpectedActive(model: Model, environment: string, expected: string | null | undefined): void {
  if (expected === undefined) return;
  const { top, moved } = environmentOf(model, environment);
  const active = top?.version ?? null;
  if (active === expected) return;
  const detail = `${active ?? 'No version'} is active in ${environment}, not ${expected ?? 'none'}.`;
  throw new Problem('active-changed', detail, { environment, active, expected, changed_by: moved });
}

/** @throws {Problem} version-archived, artifact-missing; `fields` go with either */
export function checkLoadable(target: VersionState, context: Context, fields: Record<string, unknown> = {}): void {
  const { version } = target;
  if (target.status === 'archived') {
    throw new Problem('version-archived', `${version} is archived; restore it first.`, { version, ...fields });
  }
  const gone = target.manifest.artifacts.find((artifact) =>
    context.missing.some((missing) => missing.digest === artifact.digest),
  );
  if (!gone) return;
  const detail = `The bytes of ${gone.path} of ${version} are not in the store.`;
  throw new Problem('artifact-missing', detail, { version, path: gone.path, digest: gone.digest, ...fields });
}

const MAX_WARNINGS = 10;

/** The loaders whose processes could not load the target. They only warn: each of them refuses by itself. */
export function warningsOfLoaders(target: VersionState, environment: string, { loaders }: Context): string[] {
  const own = loaders.filter((loader) => loader.environment === environment);
  // Ten thousand checks take half a second, and most loaders run the same.
  const known = new Map<string, string>();
  const warnings = own.flatMap(({ instance, runtime }) => {
    const key = JSON.stringify(runtime);
    const why = known.get(key) ?? whyNotLoadable(target, runtime);
    known.set(key, why);
    return why === '' ? [] : [`${instance} could not load ${target.version}: ${why}`];
  });
  const more = warnings.length - MAX_WARNINGS;
  return more > 0 ? [...warnings.slice(0, MAX_WARNINGS), `and ${more} more`] : warnings;
}

function whyNotLoadable(target: VersionState, runtime: Runtime): string {
  const { mismatches } = checkRuntime(target.manifest.requires, runtime, 'reported');
  return mismatches.map(({ name, expected, actual }) => `${name} ${expected} wanted, ${actual} there`).join('; ');
}

export interface Gate {
  runtime_checked: boolean;
  warnings: string[];
}

/** The runtime gate. @throws {Problem} runtime-mismatch, unless `override` */
export function passRuntimeGate(target: VersionState, environment: EnvironmentState, override = false): Gate {
  if (!environment.runtime) return { runtime_checked: false, warnings: [] };
  const { mismatches, unstated } = checkRuntime(target.manifest.requires, environment.runtime, 'declared');
  const warnings = unstated.map((name) => `${name} is required but not in the declared runtime`);
  if (mismatches.length === 0) return { runtime_checked: true, warnings };
  const told = mismatches.map(({ name, expected, actual }) => `${name} ${expected} wanted, ${actual} declared`);
  if (override) return { runtime_checked: true, warnings: [...told, ...warnings] };
  const detail = `${target.version} cannot be loaded: ${told.join('; ')}.`;
  throw new Problem('runtime-mismatch', detail, { version: target.version, mismatches });
}
