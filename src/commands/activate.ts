import { z } from 'zod';
import { Problem } from '../domain/errors.ts';
import { ACTIVATION_WINDOW_MS, activeMap, type EnvironmentState, environmentOf } from '../domain/model.ts';
import { Version } from '../domain/versions.ts';
import { type Command, type Context, checkEnvironment, Reason, versionOf } from './command.ts';
import {
  checkExpectedActive,
  checkLoadable,
  DryRun,
  Environment,
  ExpectedActive,
  passRuntimeGate,
  warningsOfLoaders,
} from './move.ts';

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
  input: Input,

  needs: (model, { version }) => model.versions.get(version)?.manifest.artifacts ?? [],

  decide(model, { version, environment, reason = null, expected_active, force }, context) {
    const target = versionOf(model, version);
    checkEnvironment(environment, context.environments);
    const current = environmentOf(model, environment);
    const previous = current.top?.version ?? null;
    checkExpectedActive(model, environment, expected_active);
    if (previous === version) {
      const fields = { active: version, revision: current.moved!.revision };
      throw new Problem('already-active', `${version} is active in ${environment} already.`, fields);
    }
    checkLoadable(target, context);
    const { runtime_checked, warnings } = passRuntimeGate(target, current);
    if (!force) checkLimit(current, environment, context);
    const active = activeMap(model, context.environments, { environment, target });
    const data = { environment, version, previous, reason, runtime_checked, ...(force && { forced: true }), active };
    const all = [...warnings, ...warningsOfLoaders(target, environment, context)];
    return { draft: { type: 'version.activated', data }, warnings: all };
  },
};

function checkLimit({ activations }: EnvironmentState, environment: string, { activationLimit, now }: Context): void {
  if (activationLimit === 0) return;
  const recent = activations.map((at) => Date.parse(at)).filter((at) => at > Date.parse(now) - ACTIVATION_WINDOW_MS);
  if (recent.length < activationLimit) return;
  const free = recent.at(-activationLimit)! + ACTIVATION_WINDOW_MS;
  const retry_after = Math.ceil((free - Date.parse(now)) / 1000);
  const detail =
    `${environment} takes ${activationLimit} activations of a model a minute; the next in ${retry_after} s. ` +
    'To pass the limit: force (--force), which is recorded. To change it: REGISTRY_ACTIVATION_LIMIT, or limits in the policy.';
  throw new Problem('too-many-activations', detail, { retry_after });
}
