import { z } from 'zod';
import { Problem } from '../domain/errors.ts';
import { activeMap, environmentOf, type Model, type StackEntry } from '../domain/model.ts';
import { Version } from '../domain/versions.ts';
import { type Command, checkEnvironment, Reason } from './command.ts';
import {
  checkExpectedActive,
  checkLoadable,
  DryRun,
  Environment,
  ExpectedActive,
  passRuntimeGate,
  warningsOfLoaders,
} from './move.ts';

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
    .meta({ description: 'Gates to pass all the same; recorded' }),
});
export type RollbackInput = z.infer<typeof RollbackBody>;

/** Undoes the newest activation or deactivation of an environment, or all of them down to `to_version`. */
export const rollback: Command<RollbackInput> = {
  name: 'rollback',
  moves_back: true,
  input: RollbackBody,

  needs(model, input) {
    const version = popTo(model, input)?.target.version;
    return version ? model.versions.get(version)!.manifest.artifacts : [];
  },

  decide(model, input, context) {
    const { environment, reason, expected_active, override } = input;
    if (model.versions.size === 0) throw new Problem('unknown-model', `There is no model ${model.name}.`);
    checkEnvironment(environment, context.environments);
    checkExpectedActive(model, environment, expected_active);
    const popped = popTo(model, input);
    if (!popped) throw nothingBelow(input);
    const current = environmentOf(model, environment);
    const version = popped.target.version;
    const target = version === null ? null : model.versions.get(version)!;
    const overridden = override.includes('runtime');
    if (target) checkLoadable(target, context, { next: nextCandidate(model, popped.target, current.top!.version) });
    const gate = target && passRuntimeGate(target, current, overridden);
    const { runtime_checked, warnings } = gate ?? { runtime_checked: false, warnings: [] };
    const active = activeMap(model, context.environments, { environment, target });
    const previous = current.top?.version ?? null;
    const moved = { environment, version, previous, reason, reverts: popped.reverts, runtime_checked };
    const data = { ...moved, ...(overridden && { overridden: ['runtime' as const] }), active };
    const ofLoaders = target ? warningsOfLoaders(target, environment, context) : [];
    return { draft: { type: 'version.rolled_back', data }, warnings: [...warnings, ...ofLoaders] };
  },
};

/** The entry that would be on top, and the revisions popped to get there, newest first; null where there is none. */
function popTo(model: Model, input: RollbackInput): { target: StackEntry; reverts: number[] } | null {
  const reverts: number[] = [];
  for (let entry = environmentOf(model, input.environment).top; entry?.below; entry = entry.below) {
    reverts.push(entry.revision);
    if (input.to_version === undefined || entry.below.version === input.to_version) {
      return { target: entry.below, reverts };
    }
  }
  return null;
}

/** The next version further down that may be had instead: neither the target nor what is active, and not archived. */
function nextCandidate(model: Model, target: StackEntry, active: string | null): string | null {
  for (let entry = target.below; entry; entry = entry.below) {
    const { version } = entry;
    if (version === null || version === target.version || version === active) continue;
    if (model.versions.get(version)!.status === 'ready') return version;
  }
  return null;
}

function nothingBelow({ environment, to_version }: RollbackInput): Problem {
  const what = to_version ? `${to_version} was not active before in ${environment}` : `Nothing was active before`;
  return new Problem('nothing-to-roll-back', `${what}; there is nothing to roll back to.`, { environment });
}
