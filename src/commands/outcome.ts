import { Problem } from '../domain/errors.ts';
import type { RegistryEvent } from '../domain/events.ts';
import type { Model } from '../domain/model.ts';
import type { Check } from './rules/check.ts';

/** The result of a command: its event (null if nothing had to change) and the event's revision. */
export interface Outcome {
  model: Model;
  event: RegistryEvent | null;
  revision: number;
  /** Whether this call stored the event. */
  stored: boolean;
  warnings: string[];
  /** The rules that the decision checked; the commands that can be a dry run have them. */
  checks: readonly Check[];
}

/**
 * Reads the model after its event was stored.
 *
 * @throws {Problem} outcome-unknown in place of log-unavailable, by which a caller would take it that nothing was stored
 */
export function afterStoring<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof Problem && error.code === 'log-unavailable')) throw error;
    const detail = 'The event is in the log, but the read model is being made anew; send the request again.';
    throw new Problem('outcome-unknown', detail, {}, error);
  }
}
