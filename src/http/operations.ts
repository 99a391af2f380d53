import { z } from 'zod';
import { ArchiveBody, archive } from '../commands/archive.ts';
import { declareRuntime } from '../commands/declare-runtime.ts';
import { NotesBody, notes } from '../commands/notes.ts';
import { restore } from '../commands/restore.ts';
import { EnvironmentName, ModelName } from '../domain/names.ts';
import { Runtime } from '../domain/requires.ts';
import { VersionView } from '../domain/views.ts';
import { callerOf, logOf, versionReply } from './command-reply.ts';
import { route } from './route.ts';
import { ofVersion } from './versions.ts';

const answer = { status: 200, schema: VersionView };
const errors = [
  'unknown-model',
  'unknown-version',
  'log-corrupt',
  'conflict',
  'log-unavailable',
  'outcome-unknown',
] as const;

const notesRoute = route({
  method: 'PATCH',
  path: '/api/models/:model/versions/:version/notes',
  permission: 'operate',
  summary: 'Replace the notes of a version; the earlier ones stay in the history',
  params: ofVersion,
  body: NotesBody,
  answer,
  errors,
  async handle(request, services) {
    const { params, body } = request;
    const outcome = await services.dispatch(
      notes,
      params.model,
      { ...body, version: params.version },
      callerOf(request),
    );
    return versionReply(outcome, params.version, services);
  },
});

const archiveRoute = route({
  method: 'POST',
  path: '/api/models/:model/versions/:version/archive',
  permission: 'operate',
  summary: 'Take a version out of use',
  params: ofVersion,
  body: ArchiveBody,
  answer,
  errors: [...errors, 'version-active'],
  async handle(request, services) {
    const { params, body } = request;
    const input = { ...body, version: params.version };
    const outcome = await services.dispatch(archive, params.model, input, callerOf(request));
    return versionReply(outcome, params.version, services);
  },
});

const restoreRoute = route({
  method: 'POST',
  path: '/api/models/:model/versions/:version/restore',
  permission: 'operate',
  summary: 'Put an archived version back into use',
  params: ofVersion,
  body: ArchiveBody,
  answer,
  errors,
  async handle(request, services) {
    const { params, body } = request;
    const input = { ...body, version: params.version };
    const outcome = await services.dispatch(restore, params.model, input, callerOf(request));
    return versionReply(outcome, params.version, services);
  },
});

const runtimeRoute = route({
  method: 'PUT',
  path: '/api/models/:model/environments/:environment/runtime',
  permission: 'operate',
  summary: 'State what the processes of an environment run',
  params: z.object({ model: ModelName, environment: EnvironmentName }),
  body: Runtime,
  answer: { status: 200, schema: z.object({ environment: z.string(), runtime: Runtime, revision: z.int() }) },
  errors: ['unknown-model', 'unknown-environment', 'log-corrupt', 'conflict', 'log-unavailable', 'outcome-unknown'],
  async handle(request, services) {
    const { environment, model } = request.params;
    const input = { ...request.body, environment };
    const outcome = await services.dispatch(declareRuntime, model, input, callerOf(request));
    return { json: { environment, runtime: request.body, revision: outcome.revision }, log: logOf(outcome) };
  },
});

export const operationRoutes = [notesRoute, archiveRoute, restoreRoute, runtimeRoute];
