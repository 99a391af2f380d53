import { type ActiveView, activeView } from '../../api/views.ts';
import type { Connection } from '../read-model/connection.ts';
import { type At, modelAt } from '../read-model/past-model.ts';

export interface ActiveQuery {
  model: string;
  environment: string;
  at: At;
}

/** Returns what was active at a moment (null: nothing), and the revision of the model's last event up to then. */
export function activeAt(
  db: Connection,
  { model, environment, at }: ActiveQuery,
): { revision: number; active: ActiveView | null } {
  const past = modelAt(db, model, at);
  return { revision: past.revision, active: activeView(past, environment) };
}
