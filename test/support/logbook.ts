import { createHash } from 'node:crypto';
import type { Command, Context } from '../../src/commands/command.ts';
import type { RegistryEvent } from '../../src/domain/events.ts';
import { encodeEvent } from '../../src/log/codec.ts';
import { subjectOf } from '../../src/log/stream.ts';
import type { LogSource, RawMessage } from '../../src/proof/source.ts';
import { newReadModel } from './read-model.ts';

/** Time, actor and context of a command. */
export interface Given {
  /** RFC 3339, UTC. */
  at: string;
  actor?: string;
  context?: Partial<Context>;
}

/** Creates a log in memory that the registry's own commands and fold write. */
export function createLogbook(environments = ['production', 'staging', 'dev']) {
  const readModel = newReadModel();
  const messages: RawMessage[] = [];
  return { messages, readModel, give };

  /** Returns the event's revision, or null if nothing changed. @throws {Problem} if the command is refused */
  function give<Input>(command: Command<Input>, model: string, input: object, given: Given): number | null {
    const state = readModel.model(model);
    const time = given.at > state.time ? given.at : state.time;
    const context = {
      environments,
      activationLimit: 0,
      missing: [],
      verified: [],
      loaders: [],
      ...given.context,
      now: time,
    };
    const decision = command.decide(state, command.input.parse(input), context);
    if ('unchanged' in decision) return null;
    const revision = messages.length + 1;
    const envelope = { model, id: idOf(revision), time, actor: given.actor ?? 'ana', request_id: `r-${revision}` };
    const body = encodeEvent({ ...decision.draft, ...envelope } as RegistryEvent, state.head);
    readModel.fold({ revision, model, body });
    readModel.commit();
    messages.push({ revision, subject: subjectOf(model), stored_at: new Date(time), body });
    return revision;
  }
}

/** Returns a UUID that depends only on the revision. */
function idOf(revision: number): string {
  const hex = createHash('sha256').update(`${revision}`).digest('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), `4${hex.slice(13, 16)}`, `8${hex.slice(17, 20)}`, hex.slice(20, 32)].join(
    '-',
  );
}

/** Returns a log source that reads these messages. */
export function sourceOf(messages: RawMessage[], head = messages.at(-1)?.revision ?? 0): LogSource {
  return {
    name: 'the test’s log',
    generation: 0,
    head,
    async *batches() {
      for (let first = 0; first < messages.length; first += 7) yield messages.slice(first, first + 7);
    },
    close: async () => {},
  };
}
