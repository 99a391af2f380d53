import type { EnvironmentState, VersionState } from '../../domain/model.ts';
import { checkRuntime, type Mismatch, type Runtime } from '../../domain/requires.ts';
import type { LiveLoader } from '../command.ts';
import { type Check, failed, passed } from './check.ts';

export interface RuntimeResult {
  check: Check;
  /** Whether a runtime is declared for the environment, so that the check means something. */
  runtime_checked: boolean;
  warnings: string[];
}

/** The runtime declared for the environment can load the version. `override` turns mismatches into warnings. */
export function checkDeclaredRuntime(
  target: VersionState,
  { runtime }: EnvironmentState,
  override = false,
): RuntimeResult {
  const rule = 'runtime';
  if (!runtime) {
    return { check: passed(rule, 'No runtime is declared.'), runtime_checked: false, warnings: [] };
  }
  const { mismatches, unstated } = checkRuntime(target.manifest.requires, runtime, 'declared');
  const unknown = unstated.map((name) => `${name} is required but not in the declared runtime`);
  const wrong = spelled(mismatches, 'declared');
  if (wrong.length === 0) {
    const check = passed(rule, `The declared runtime can load ${target.version}.`);
    return { check, runtime_checked: true, warnings: unknown };
  }
  const detail = `${target.version} cannot be loaded: ${wrong.join('; ')}.`;
  const check = override
    ? passed(rule, `Overridden. ${detail}`)
    : failed(rule, 'runtime-mismatch', detail, { version: target.version, mismatches });
  return { check, runtime_checked: true, warnings: override ? [...wrong, ...unknown] : [] };
}

const MAX_WARNINGS = 10;

/** Warns of loaders whose process could not load the version. They never block a move: each refuses by itself. */
export function warningsOfLoaders(target: VersionState, environment: string, loaders: readonly LiveLoader[]): string[] {
  const own = loaders.filter((loader) => loader.environment === environment);
  // Ten thousand checks take half a second, and most loaders run the same.
  const known = new Map<string, string>();
  const warnings = own.flatMap(({ instance, runtime }) => {
    const key = JSON.stringify(runtime);
    const reason = known.get(key) ?? mismatchesOf(target, runtime);
    known.set(key, reason);
    return reason === '' ? [] : [`${instance} could not load ${target.version}: ${reason}`];
  });
  const more = warnings.length - MAX_WARNINGS;
  return more > 0 ? [...warnings.slice(0, MAX_WARNINGS), `and ${more} more`] : warnings;
}

function mismatchesOf(target: VersionState, runtime: Runtime): string {
  return spelled(checkRuntime(target.manifest.requires, runtime, 'reported').mismatches, 'there').join('; ');
}

function spelled(mismatches: readonly Mismatch[], where: string): string[] {
  return mismatches.map(({ name, expected, actual }) => `${name} ${expected} wanted, ${actual} ${where}`);
}
