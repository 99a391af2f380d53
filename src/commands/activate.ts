import { z } from 'zod';
import { activeMap, environmentOf } from '../domain/model.ts';
import { Version } from '../domain/versions.ts';
import { type Command, Reason } from './command.ts';
import { DryRun, Environment, ExpectedActive } from './move.ts';
import { checkActivationLimit } from './rules/activation-limit.ts';
import { checkExpectedActive, checkNotActive } from './rules/active.ts';
import { refuseIfAnyFailed } from './rules/check.ts';
import { requireEnvironment, requireVersion } from './rules/known.ts';
import { checkLoadable } from './rules/loadable.ts';
import { checkDeclaredRuntime, warningsOfLoaders } from './rules/runtime.ts';

export const ActivateBody = z.strictObject({
  environment: Environment,
  reason: Reason.optional(),
  expected_active: ExpectedActive.optional(),
  dry_run: DryRun,
  force: z.boolean().default(false).meta({ description: 'Pass the limit of activations a minute; recorded' }),
});
const Input = ActivateBody.extend({ version: Version });

/** Makes a published version the active one of an environment. */
export const activate: Command<z.infer<typeof Input>> = {
  name: 'activate',
  permission: 'activate',
  input: Input,
  environment: ({ environment }) => environment,
  alsoNeeds: ({ force }) => (force ? ['force'] : []),
  isDryRun: ({ dry_run }) => dry_run,
  needs: (model, { version }) => model.version(version)?.manifest.artifacts ?? [],

  decide(model, { version, environment, reason = null, expected_active, force, dry_run }, context) {
    const target = requireVersion(model, version);
    requireEnvironment(environment, context.environments);
    const current = environmentOf(model, environment);
    const runtime = checkDeclaredRuntime(target, current);
    const checks = [
      checkExpectedActive(model, environment, expected_active),
      checkNotActive(model, environment, version),
      ...checkLoadable(target, context),
      runtime.check,
      checkActivationLimit(current, environment, force, context),
    ];
    refuseIfAnyFailed(checks, dry_run);
    const active = activeMap(model, context.environments, { environment, target });
    const move = { environment, version, previous: current.top?.version ?? null, reason };
    const data = { ...move, runtime_checked: runtime.runtime_checked, ...(force && { forced: true }), active };
    const warnings = [...runtime.warnings, ...warningsOfLoaders(target, environment, context.loaders)];
    return { draft: { type: 'version.activated', data }, warnings, checks };
  },
};
