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
