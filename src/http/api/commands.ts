import type { z } from 'zod';
import { MoveView, RuntimeView, VersionView } from '../../api/views.ts';
import { ActivateBody, activate } from '../../commands/activate.ts';
import { ArchiveBody, archive } from '../../commands/archive.ts';
import type { Command } from '../../commands/command.ts';
import { DeactivateBody, deactivate } from '../../commands/deactivate.ts';
import { declareRuntime } from '../../commands/declare-runtime.ts';
import { NotesBody, notes } from '../../commands/notes.ts';
import type { Outcome } from '../../commands/outcome.ts';
import { RollbackBody, rollback } from '../../commands/rollback.ts';
import { unarchive } from '../../commands/unarchive.ts';
import type { ProblemCode } from '../../domain/errors.ts';
import type { EventType } from '../../domain/events.ts';
import { Runtime } from '../../domain/requires.ts';
import { type Method, type Reply, type Route, route } from '../server/route.ts';
import type { Services } from '../services.ts';
import { issuerOf, logOf, moveReply, versionReply } from './command-reply.ts';
import { ofEnvironment, ofModel, ofVersion } from './params.ts';
import { RUNTIME_PATH } from './runtime.ts';

/** The refusals that every command may give. */
export const COMMAND_ERRORS: readonly ProblemCode[] = [
  'too-many-commands',
  'log-corrupt',
  'upgrade-pending',
  'conflict',
  'idempotency-key-reused',
  'log-unavailable',
  'outcome-unknown',
  'log-full',
];
const MOVE_ERRORS: readonly ProblemCode[] = ['unknown-model', 'unknown-environment', ...COMMAND_ERRORS];
const TARGET_ERRORS: readonly ProblemCode[] = [
  'active-changed',
  'version-archived',
  'artifact-missing',
  'runtime-mismatch',
];
const VERSION_ERRORS: readonly ProblemCode[] = ['unknown-model', 'unknown-version', ...COMMAND_ERRORS];

interface CommandRoute<Input> {
  method: Method;
  /** After the model's own path. */
  path: string;
  summary: string;
  event_type: EventType;
  command: Command<Input>;
  params: z.ZodType<{ model: string }>;
  body: z.ZodType;
  schema: z.ZodType;
  errors: readonly ProblemCode[];
  reply(outcome: Outcome, input: Input, services: Services): Promise<Reply>;
}

/** A route for one command: its input is the body and the path's parameters other than the model. */
function commandRoute<Input extends object>(definition: CommandRoute<Input>): Route {
  const { method, path, summary, event_type, command, params, body, schema, errors, reply } = definition;
  return route({
    method,
    path: `/api/models/:model${path}`,
    permission: command.permission,
    summary,
    event_type,
    params,
    body,
    answer: { status: 200, schema },
    errors,
    async handle(request, services) {
      const { model, ...named } = request.params;
      const input = { ...(request.body as object), ...named } as Input;
      return reply(await services.execute(command, model, input, issuerOf(request)), input, services);
    },
  });
}

const move = { method: 'POST', schema: MoveView } as const;
const change = { params: ofVersion, schema: VersionView, errors: VERSION_ERRORS } as const;

export const commandRoutes = [
  commandRoute({
    ...move,
    path: '/versions/:version/activate',
    summary: 'Make a version the active one of an environment',
    event_type: 'version.activated',
    command: activate,
    params: ofVersion,
    body: ActivateBody,
    errors: [...MOVE_ERRORS, 'unknown-version', 'already-active', 'too-many-activations', ...TARGET_ERRORS],
    reply: (outcome, { dry_run }, services) => moveReply(outcome, dry_run, services),
  }),
  commandRoute({
    ...move,
    path: '/rollback',
    summary: 'Undo the newest activation or deactivation of an environment',
    event_type: 'version.rolled_back',
    command: rollback,
    params: ofModel,
    body: RollbackBody,
    errors: [...MOVE_ERRORS, 'nothing-to-roll-back', ...TARGET_ERRORS],
    reply: (outcome, { dry_run }, services) => moveReply(outcome, dry_run, services),
  }),
  commandRoute({
    ...move,
    path: '/deactivate',
    summary: 'Leave an environment with no active version',
    event_type: 'version.deactivated',
    command: deactivate,
    params: ofModel,
    body: DeactivateBody,
    errors: [...MOVE_ERRORS, 'no-active-version'],
    reply: (outcome, _input, services) => moveReply(outcome, false, services),
  }),
  commandRoute({
    ...change,
    method: 'PATCH',
    path: '/versions/:version/notes',
    summary: 'Replace the notes of a version; the earlier ones stay in the history',
    event_type: 'notes.changed',
    command: notes,
    body: NotesBody,
    reply: (outcome, { version }, services) => versionReply(outcome, version, services),
  }),
  commandRoute({
    ...change,
    method: 'POST',
    path: '/versions/:version/archive',
    summary: 'Take a version out of use',
    event_type: 'version.archived',
    command: archive,
    body: ArchiveBody,
    errors: [...VERSION_ERRORS, 'version-active'],
    reply: (outcome, { version }, services) => versionReply(outcome, version, services),
  }),
  commandRoute({
    ...change,
    method: 'POST',
    path: '/versions/:version/restore',
    summary: 'Put an archived version back into use',
    event_type: 'version.restored',
    command: unarchive,
    body: ArchiveBody,
    reply: (outcome, { version }, services) => versionReply(outcome, version, services),
  }),
  commandRoute({
    method: 'PUT',
    path: RUNTIME_PATH,
    summary: 'Declare what the processes of an environment run',
    event_type: 'runtime.declared',
    command: declareRuntime,
    params: ofEnvironment,
    body: Runtime,
    schema: RuntimeView.extend({ runtime: Runtime }),
    errors: MOVE_ERRORS,
    async reply(outcome, { environment, ...runtime }) {
      return { json: { environment, runtime, revision: outcome.revision }, log: logOf(outcome) };
    },
  }),
];
