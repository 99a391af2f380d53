import { z } from 'zod';
import { Problem } from '../domain/errors.ts';
import { activeMap, environmentOf } from '../domain/model.ts';
import { type Command, checkEnvironment, Reason } from './command.ts';
import { Environment } from './move.ts';

export const DeactivateBody = z.strictObject({ environment: Environment, reason: Reason });

/** Leaves an environment with no active version; a rollback puts it back. */
export const deactivate: Command<z.infer<typeof DeactivateBody>> = {
  name: 'deactivate',
  moves_back: true,
  input: DeactivateBody,
  decide(model, { environment, reason }, context) {
    if (model.versions.size === 0) throw new Problem('unknown-model', `There is no model ${model.name}.`);
    checkEnvironment(environment, context.environments);
    const previous = environmentOf(model, environment).top?.version ?? null;
    if (previous === null) {
      throw new Problem('no-active-version', `No version is active in ${environment}.`, { environment });
    }
    const active = activeMap(model, context.environments, { environment, target: null });
    return { draft: { type: 'version.deactivated', data: { environment, version: null, previous, reason, active } } };
  },
};
