import { ActivateBody, activate } from '../commands/activate.ts';
import { DeactivateBody, deactivate } from '../commands/deactivate.ts';
import { RollbackBody, rollback } from '../commands/rollback.ts';
import { MoveView } from '../domain/views.ts';
import { callerOf, moveReply } from './command-reply.ts';
import { route } from './route.ts';
import { ofModel, ofVersion } from './versions.ts';

const answer = { status: 200, schema: MoveView };
const always = [
  'log-corrupt',
  'conflict',
  'idempotency-key-reused',
  'log-unavailable',
  'outcome-unknown',
  'log-full',
] as const;
const found = ['unknown-model', 'unknown-environment'] as const;

const activateRoute = route({
  method: 'POST',
  path: '/api/models/:model/versions/:version/activate',
  permission: 'activate',
  summary: 'Make a version the active one of an environment',
  params: ofVersion,
  body: ActivateBody,
  answer,
  errors: [
    ...found,
    'unknown-version',
    'already-active',
    'active-changed',
    'version-archived',
    'artifact-missing',
    'runtime-mismatch',
    'too-many-activations',
    ...always,
  ],
  async handle(request, services) {
    const { params, body } = request;
    const input = { ...body, version: params.version };
    const outcome = await services.dispatch(activate, params.model, input, callerOf(request));
    return moveReply(outcome, body.dry_run, services);
  },
});

const rollbackRoute = route({
  method: 'POST',
  path: '/api/models/:model/rollback',
  permission: 'activate',
  summary: 'Undo the newest activation or deactivation of an environment',
  params: ofModel,
  body: RollbackBody,
  answer,
  errors: [
    ...found,
    'active-changed',
    'nothing-to-roll-back',
    'version-archived',
    'artifact-missing',
    'runtime-mismatch',
    ...always,
  ],
  async handle(request, services) {
    const { params, body } = request;
    const outcome = await services.dispatch(rollback, params.model, body, callerOf(request));
    return moveReply(outcome, body.dry_run, services);
  },
});

const deactivateRoute = route({
  method: 'POST',
  path: '/api/models/:model/deactivate',
  permission: 'activate',
  summary: 'Leave an environment with no active version',
  params: ofModel,
  body: DeactivateBody,
  answer,
  errors: [...found, 'no-active-version', ...always],
  async handle(request, services) {
    const { params, body } = request;
    const outcome = await services.dispatch(deactivate, params.model, body, callerOf(request));
    return moveReply(outcome, false, services);
  },
});

export const moveRoutes = [activateRoute, rollbackRoute, deactivateRoute];
