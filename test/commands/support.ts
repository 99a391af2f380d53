import { expect } from 'vitest';
import { activate } from '../../src/commands/activate.ts';
import { archive } from '../../src/commands/archive.ts';
import type { Command, Context, Decision } from '../../src/commands/command.ts';
import { deactivate } from '../../src/commands/deactivate.ts';
import { declareRuntime } from '../../src/commands/declare-runtime.ts';
import { publish } from '../../src/commands/publish.ts';
import { rollback } from '../../src/commands/rollback.ts';
import { sha256Hex } from '../../src/domain/digest.ts';
import { Problem, type ProblemCode } from '../../src/domain/errors.ts';
import { type EventDraft, type EventType, eventData, type RegistryEvent } from '../../src/domain/events.ts';
import type { Artifact } from '../../src/domain/manifest.ts';
import type { Model } from '../../src/domain/model.ts';
import { ModelInMemory } from '../support/model-in-memory.ts';

/** A time of the test day, in seconds. Steps are two minutes apart, so that no limit applies. */
export const at = (seconds: number): string => new Date(Date.UTC(2026, 2, 3) + seconds * 1000).toISOString();

export const file = (path = 'model.joblib', content = path): Artifact => {
  return { path, digest: `sha256:${sha256Hex(content)}`, size: content.length };
};

/** A command that was given before. */
type Step = (model: ModelInMemory) => void;

export function did<Input>(command: Command<Input>, input: unknown, context: Partial<Context> = {}): Step {
  return (model) => {
    const decision = decide(model, command, input, context);
    if (!('draft' in decision)) throw new Error(`${command.name} changed nothing`);
    const event = eventOf(model, decision.draft, context.now ?? at(120 * model.revision));
    model.follow(event, model.revision + 1, sha256Hex(JSON.stringify(event)));
  };
}

export const published = (version: string, fields = {}) => did(publish, { version, artifacts: [file()], ...fields });
export const activated = (version: string, fields = {}) => did(activate, { version, ...fields });
export const rolledBack = (fields = {}) => did(rollback, { reason: 'worse', ...fields });
export const deactivated = (fields = {}) => did(deactivate, { reason: 'off', ...fields });
export const archived = (version: string) => did(archive, { version });
export const declared = (runtime: object) => did(declareRuntime, { environment: 'production', ...runtime });

/** Decides as `execute` does: the input is parsed, and only missing artifacts that the command needs are passed on. */
export function decide<Input>(
  model: Model,
  command: Command<Input>,
  given: unknown,
  context: Partial<Context> = {},
): Decision {
  const input = command.input.parse(given);
  const needed = new Set(command.needs?.(model, input).map(({ digest }) => digest));
  const missing = context.missing?.filter(({ digest }) => needed.has(digest)) ?? [];
  const environments = ['production', 'staging', 'dev'];
  const now = at(120 * model.revision);
  return command.decide(model, input, {
    now,
    environments,
    activationLimit: 3,
    loaders: [],
    verified: [],
    ...context,
    missing,
  });
}

/** The event as it is read back from the log. */
export function eventOf(model: Model, { type, data }: EventDraft, time: string): RegistryEvent {
  const read = eventData[type].parse(JSON.parse(JSON.stringify(data)));
  expect(read).toEqual(data);
  const id = `e${model.revision + 1}`;
  return { type, model: model.name, id, time, actor: 'ana', request_id: `r-${id}`, data: read } as RegistryEvent;
}

/** A model's history; revisions are 1, 2, … */
export function given(...steps: Step[]) {
  const model = new ModelInMemory('fraud');
  for (const step of steps) step(model);
  return {
    model,
    when<Input>(command: Command<Input>, input: unknown, context: Partial<Context> = {}) {
      return answerOf(model, () => decide(model, command, input, context));
    },
  };
}

function answerOf(model: Model, decided: () => Decision) {
  const before = structuredClone(model);
  let answer: Decision | Problem;
  try {
    answer = decided();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    answer = error;
  }
  expect(model, 'a decision changes nothing').toEqual(before);
  return {
    /** Expects an event whose data has at least these fields, and exactly these warnings if given. */
    gives(type: EventType, data: object = {}, warnings?: string[]) {
      expect(answer).toMatchObject({ draft: { type } });
      if (!('draft' in answer)) return;
      expect(answer.draft.data).toEqual(expect.objectContaining(data));
      if (warnings) expect(answer.warnings).toEqual(warnings);
    },
    isRefused(code: ProblemCode, fields: object = {}) {
      expect(answer).toMatchObject({ code, fields: expect.objectContaining(fields) });
    },
    changesNothing: (revision: number) => expect(answer).toEqual({ unchanged: revision }),
    /** The event's data, to check what it omits. */
    data: 'draft' in answer ? answer.draft.data : null,
  };
}
