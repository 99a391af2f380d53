import fc from 'fast-check';
import { activeView, versionView } from '../../src/api/views.ts';
import type { Replay } from '../../src/audit/replay.ts';
import { registryAt } from '../../src/audit/reports/at.ts';
import type { Command } from '../../src/commands/command.ts';
import { Problem } from '../../src/domain/errors.ts';
import { environmentOf, type Model } from '../../src/domain/model.ts';
import { listNames } from '../../src/projections/lists/names.ts';
import { modelNames } from '../../src/projections/read-model/models.ts';
import type { ReadModel } from '../../src/projections/read-model/read-model.ts';
import type { RawMessage } from '../../src/proof/source.ts';
import { type Asked, commandOf, contextOf, history } from '../commands/history.ts';
import { at } from '../commands/support.ts';
import { createLogbook } from '../support/logbook.ts';

const MODELS = ['fraud', 'churn'];

/** Generates commands, each for one of two models. */
export const commands = fc
  .tuple(history, fc.array(fc.nat(9), { minLength: 70, maxLength: 70 }))
  .map(([asked, picks]) => asked.map((command, i): [string, Asked] => [MODELS[picks[i]! < 7 ? 0 : 1]!, command]));

/** Executes commands. Returns the messages, and the registry's state before the first and after each of them. */
export function written(given: [string, Asked][]) {
  const book = createLogbook();
  const answers: object[] = [folded(book.readModel)];
  let now = 0;
  for (const [model, asked] of given) {
    now += asked.wait;
    const [command, input] = commandOf(asked) as [Command<unknown>, object];
    const revision = accepted(() => book.give(command, model, input, { at: at(now), context: contextOf(asked, now) }));
    if (revision !== null) answers.push(folded(book.readModel));
  }
  return { messages: book.messages, answers };
}

function accepted(give: () => number | null): number | null {
  try {
    return give();
  } catch (error) {
    if (error instanceof Problem) return null;
    throw error;
  }
}

/** The registry's state as its own fold computes it. */
export function folded(readModel: ReadModel): object {
  const names = modelNames(readModel.db).sort();
  return structuredClone(
    names.map((name) => foldedModel(readModel.model(name), listNames(readModel.db, { model: name }))),
  );
}

function foldedModel(model: Model, names: string[]) {
  const states = names.map((name) => model.version(name)!).sort((a, b) => b.revision - a.revision);
  const versions = states.map((version) => {
    const { active_flag, model: _, ...view } = versionView(model, version);
    return view;
  });
  const environments = [...model.environments.keys()].sort().map((name) => {
    const { moved, runtime } = environmentOf(model, name);
    const { version = null, activated = null } = activeView(model, name) ?? {};
    return { name, version, activated: movement(activated), moved: movement(moved), runtime };
  });
  const { name, revision, time } = model;
  return { model: name, revision, time, latest: model.latest, versions, environments };
}

function movement(moved: { revision: number; at: string; by: string; reason: string | null } | null) {
  return moved && { revision: moved.revision, at: moved.at, by: moved.by, reason: moved.reason };
}

/** The same state as the replay computes it. */
export function replayed(replay: Replay): object {
  return registryAt(replay).map(({ environments, ...rest }) => {
    const known = Object.entries(environments).filter(([, at]) => at.revision !== null || at.runtime !== null);
    return {
      ...rest,
      environments: known
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([name, at]) => {
          const { version, since, by, reason, revision, runtime } = at;
          const moved = revision === null ? null : { revision, at: since, by, reason };
          return { name, version, activated: version === null ? null : moved, moved, runtime };
        }),
    };
  });
}

/** Renumbers the messages as 1, 2, …, as in a stream that was written again. */
export function renumbered(messages: RawMessage[]): RawMessage[] {
  return messages.map((message, i) => ({ ...message, revision: i + 1 }));
}

/** Returns the message with its JSON changed. */
export function altered(message: RawMessage, change: (event: Record<string, unknown>) => void): RawMessage {
  const event = JSON.parse(message.body.toString());
  change(event);
  return { ...message, body: Buffer.from(JSON.stringify(event)) };
}
