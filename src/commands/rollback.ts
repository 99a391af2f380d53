import { z } from 'zod';
import { Problem } from '../domain/errors.ts';
import { activeMap, entryBelow, environmentOf, type Model, type StackEntry } from '../domain/model.ts';
import { Version } from '../domain/versions.ts';
import { type Command, type Context, Reason } from './command.ts';
import { DryRun, Environment, ExpectedActive } from './move.ts';
import { checkExpectedActive } from './rules/active.ts';
import { type Check, refuseIfAnyFailed } from './rules/check.ts';
import { requireEnvironment, requireModel } from './rules/known.ts';
import { checkLoadable } from './rules/loadable.ts';
import { checkDeclaredRuntime, type RuntimeResult, warningsOfLoaders } from './rules/runtime.ts';

export const RollbackBody = z.strictObject({
  environment: Environment,
  to_version: Version.optional(),
  reason: Reason,
  expected_active: ExpectedActive.optional(),
  dry_run: DryRun,
  override: z
    .array(z.literal('runtime'))
    .max(10)
    .default([])
    .meta({ description: 'Rules to pass in spite of a failure; recorded' }),
});
export type RollbackInput = z.infer<typeof RollbackBody>;

/** Undoes the newest activation or deactivation of an environment, or all of them down to `to_version`. */
export const rollback: Command<RollbackInput> = {
  name: 'rollback',
  permission: 'activate',
  moves_back: true,
  input: RollbackBody,
  environment: ({ environment }) => environment,
  isDryRun: ({ dry_run }) => dry_run,

  needs(model, input) {
    const version = popTo(model, input)?.target.version;
    return version ? model.version(version)!.manifest.artifacts : [];
  },

  decide(model, input, context) {
    const { environment, reason, expected_active, override, dry_run } = input;
    requireModel(model);
    requireEnvironment(environment, context.environments);
    const expected = checkExpectedActive(model, environment, expected_active);
    const popped = popTo(model, input);
    if (!popped) {
      refuseIfAnyFailed([expected], dry_run);
      throw nothingBelow(input);
    }
    const overridden = override.includes('runtime');
    const { checks, runtime_checked, warnings } = checkTarget(model, environment, popped.target, overridden, context);
    refuseIfAnyFailed([expected, ...checks], dry_run);
    const version = popped.target.version;
    const target = version === null ? null : model.record(version)!;
    const active = activeMap(model, context.environments, { environment, target });
    const previous = environmentOf(model, environment).top!.version;
    const move = { environment, version, previous, reason, reverts: popped.reverts, runtime_checked };
    const data = { ...move, ...(overridden && { overridden: ['runtime' as const] }), active };
    return { draft: { type: 'version.rolled_back', data }, warnings, checks: [expected, ...checks] };
  },
};

/** The checks of the version that a rollback makes active; an environment without one has nothing to load. */
function checkTarget(
  model: Model,
  environment: string,
  entry: StackEntry,
  overridden: boolean,
  context: Context,
): Omit<RuntimeResult, 'check'> & { checks: Check[] } {
  if (entry.version === null) return { checks: [], runtime_checked: false, warnings: [] };
  const target = model.version(entry.version)!;
  const current = environmentOf(model, environment);
  const { check, runtime_checked, warnings } = checkDeclaredRuntime(target, current, overridden);
  const next = nextCandidate(model, entry, current.top!.version);
  const checks = [...checkLoadable(target, context, { next }), check];
  return {
    checks,
    runtime_checked,
    warnings: [...warnings, ...warningsOfLoaders(target, environment, context.loaders)],
  };
}

/** The stack entry that becomes the top, and the revisions popped to reach it, newest first; null if there is none. */
function popTo(model: Model, input: RollbackInput): { target: StackEntry; reverts: number[] } | null {
  const reverts: number[] = [];
  let entry = environmentOf(model, input.environment).top;
  for (let below = entryBelow(model, entry); entry && below; below = entryBelow(model, entry)) {
    reverts.push(entry.revision);
    if (input.to_version === undefined || below.version === input.to_version) return { target: below, reverts };
    entry = below;
  }
  return null;
}

/** The next version down the stack to offer instead: not the target, not the active one and not archived. */
function nextCandidate(model: Model, target: StackEntry, active: string | null): string | null {
  for (let entry = entryBelow(model, target); entry; entry = entryBelow(model, entry)) {
    const { version } = entry;
    if (version === null || version === target.version || version === active) continue;
    if (model.record(version)!.status === 'ready') return version;
  }
  return null;
}

function nothingBelow({ environment, to_version }: RollbackInput): Problem {
  const what = to_version ? `${to_version} was not active before in ${environment}` : `Nothing was active before`;
  return new Problem('nothing-to-roll-back', `${what}; there is nothing to roll back to.`, { environment });
}
