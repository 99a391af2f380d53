import { z } from 'zod';
import { Problem } from '../domain/errors.ts';
import { activeMap, environmentOf } from '../domain/model.ts';
import { type Command, Reason } from './command.ts';
import { Environment } from './move.ts';
import { requireEnvironment, requireModel } from './rules/known.ts';

export const DeactivateBody = z.strictObject({ environment: Environment, reason: Reason });

/** Leaves an environment with no active version. A rollback undoes it. */
export const deactivate: Command<z.infer<typeof DeactivateBody>> = {
  name: 'deactivate',
  permission: 'activate',
  moves_back: true,
  input: DeactivateBody,
  environment: ({ environment }) => environment,

  decide(model, { environment, reason }, context) {
    requireModel(model);
    requireEnvironment(environment, context.environments);
    const previous = environmentOf(model, environment).top?.version ?? null;
    if (previous === null) {
      throw new Problem('no-active-version', `No version is active in ${environment}.`, { environment });
    }
    const active = activeMap(model, context.environments, { environment, target: null });
    return { draft: { type: 'version.deactivated', data: { environment, version: null, previous, reason, active } } };
  },
};
