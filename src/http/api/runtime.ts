import { RuntimeView } from '../../api/views.ts';
import { environmentOf } from '../../domain/model.ts';
import { route } from '../server/route.ts';
import { findEnvironment, findModel } from './find.ts';
import { ofEnvironment } from './params.ts';

/** The path after that of the model; commands.ts adds `PUT`. */
export const RUNTIME_PATH = '/environments/:environment/runtime';

const declared = route({
  method: 'GET',
  path: `/api/models/:model${RUNTIME_PATH}`,
  permission: 'read',
  summary: 'The runtime declared for an environment; null before the first declaration',
  params: ofEnvironment,
  answer: { status: 200, schema: RuntimeView },
  errors: ['unknown-environment', 'unknown-model'],
  handle({ params }, services) {
    const model = findModel(services, params.model);
    const environment = findEnvironment(services, params.environment);
    const { runtime } = environmentOf(model, environment);
    return { json: { environment, runtime, revision: model.revision } };
  },
});

export const runtimeRoutes = [declared];
