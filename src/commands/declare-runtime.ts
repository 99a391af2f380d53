import { isDeepStrictEqual } from 'node:util';
import type { z } from 'zod';
import { activeMap, environmentOf } from '../domain/model.ts';
import { EnvironmentName } from '../domain/names.ts';
import { Runtime } from '../domain/requires.ts';
import type { Command } from './command.ts';
import { requireEnvironment, requireModel } from './rules/known.ts';

const Input = Runtime.extend({ environment: EnvironmentName });

/** Declares what the processes of an environment run. Activations and rollbacks are checked against it. */
export const declareRuntime: Command<z.infer<typeof Input>> = {
  name: 'runtime',
  permission: 'operate',
  input: Input,
  environment: ({ environment }) => environment,
  decide(model, { environment, ...runtime }, context) {
    requireModel(model);
    requireEnvironment(environment, context.environments);
    if (isDeepStrictEqual(environmentOf(model, environment).runtime, runtime)) return { unchanged: model.revision };
    const active = activeMap(model, context.environments);
    return { draft: { type: 'runtime.declared', data: { environment, runtime, active } } };
  },
};
