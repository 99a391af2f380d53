import { createHash } from 'node:crypto';
import type { Command, Context } from '../../src/commands/command.ts';
import type { RegistryEvent } from '../../src/domain/events.ts';
import { encodeEvent } from '../../src/log/codec.ts';
import { subjectOf } from '../../src/log/stream.ts';
import { applyMessage, emptyRegistry, entryOf } from '../../src/projections/registry.ts';
import type { LogSource, RawMessage } from '../../src/proof/source.ts';

/** Who gives a command to a logbook, and when. */
export interface Given {
  /** RFC 3339, UTC. */
  at: string;
  actor?: string;
  context?: Partial<Context>;
}

/** A log that is written as the registry writes it, by its own commands and fold, and to no stream. */
export function createLogbook(environments = ['production', 'staging', 'dev']) {
  const registry = emptyRegistry();
  const messages: RawMessage[] = [];
  return { messages, registry, give };

  /** The event's revision; null where nothing had to change. @throws {Problem} as the command is refused */
  function give<Input>(command: Command<Input>, model: string, input: object, given: Given): number | null {
    const state = entryOf(registry, model).model;
    const time = given.at > state.time ? given.at : state.time;
    const context = { environments, activationLimit: 0, missing: [], loaders: [], ...given.context, now: time };
    const decision = command.decide(state, command.input.parse(input), context);
    if ('unchanged' in decision) return null;
    const revision = messages.length + 1;
    const said = { model, id: idOf(revision), time, actor: given.actor ?? 'ana', request_id: `r-${revision}` };
    const body = encodeEvent({ ...decision.draft, ...said } as RegistryEvent, state.head);
    applyMessage(registry, { revision, model, body });
    messages.push({ revision, subject: subjectOf(model), stored_at: new Date(time), body });
    return revision;
  }
}

/** Looks like any id, and is the same each time. */
function idOf(revision: number): string {
  const hex = createHash('sha256').update(`${revision}`).digest('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), `4${hex.slice(13, 16)}`, `8${hex.slice(17, 20)}`, hex.slice(20, 32)].join(
    '-',
  );
}

/** Messages as a log to read. */
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
