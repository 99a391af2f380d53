import type { RegistryEvent } from '../../domain/events.ts';
import { evolve, RuleBroken, skip } from '../../domain/evolve.ts';
import type { Change, Model } from '../../domain/model.ts';
import { isModelName } from '../../domain/names.ts';
import { decodeEvent, Undecodable } from '../../log/codec.ts';
import type { LogMessage } from '../../log/read.ts';

/** The result of a message: its event (null if it is ignorable) and what that changes, or why its model is frozen. */
export type Folded = { event: RegistryEvent | null; change: Change } | { frozen: string };

/**
 * Folds the next message of a model. A message that does not decode, breaks the chain or breaks a rule freezes the model;
 * it is never skipped.
 */
export function fold(model: Model, message: LogMessage, hash: string): Folded {
  try {
    return follow(model, message, hash);
  } catch (error) {
    if (!(error instanceof Undecodable || error instanceof RuleBroken)) throw error;
    return { frozen: error.message };
  }
}

/** @throws {Undecodable | RuleBroken} */
function follow(model: Model, { model: name, revision, body }: LogMessage, hash: string): Folded {
  if (model.revision === 0 && !isModelName(name)) throw new Undecodable(`${name} is not a model's name`);
  const decoded = decodeEvent(body);
  if (decoded.prevhash !== model.head) throw new Undecodable('it does not follow the model’s previous event');
  const { event } = decoded;
  if (event === null) return { event, change: skip(model, decoded.active, revision, hash) };
  if (event.model !== model.name) throw new Undecodable(`it is about another model, ${event.model}`);
  if (event.time < model.time) throw new Undecodable('it is older than the model’s previous event');
  return { event, change: evolve(model, event, revision, hash) };
}
