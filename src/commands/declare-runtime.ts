import { isDeepStrictEqual } from 'node:util';
import type { z } from 'zod';
import { Problem } from '../domain/errors.ts';
import { activeMap, environmentOf } from '../domain/model.ts';
import { EnvironmentName } from '../domain/names.ts';
import { Runtime } from '../domain/requires.ts';
import { type Command, checkEnvironment } from './command.ts';

const Input = Runtime.extend({ environment: EnvironmentName });

/** States what the processes of an environment run, for activations and rollbacks to be checked against. */
export const declareRuntime: Command<z.infer<typeof Input>> = {
  name: 'runtime',
  input: Input,
  decide(model, { environment, ...runtime }, context) {
    if (model.versions.size === 0) throw new Problem('unknown-model', `There is no model ${model.name}.`);
    checkEnvironment(environment, context.environments);
    if (isDeepStrictEqual(environmentOf(model, environment).runtime, runtime)) return { unchanged: model.revision };
    const active = activeMap(model, context.environments);
    return { draft: { type: 'runtime.declared', data: { environment, runtime, active } } };
  },
};
