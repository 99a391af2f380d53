import type { Policy } from '../../access/policy.ts';
import type { LogPosition } from '../../log/identity.ts';
import type { Connection } from '../read-model/connection.ts';
import { activeAt } from './active.ts';
import { findAmongModels } from './found-models.ts';
import { findAmongVersions } from './found-versions.ts';
import { listHistory } from './history.ts';
import { listModels } from './models.ts';
import { listNames } from './names.ts';
import { listTenures } from './timeline.ts';
import { listVersions } from './versions.ts';

/** What the lists need besides the read model. */
export interface ListSettings {
  policy: Policy;
  environments: readonly string[];
}

/** What the API reads of more than a model's present, by name. Each reads the database only, so that it can run in a thread of its own. */
export const lists = {
  active: activeAt,
  models: listModels,
  'found-models': findAmongModels,
  versions: listVersions,
  'found-versions': findAmongVersions,
  names: listNames,
  history: listHistory,
  timeline: listTenures,
};
export type ListName = keyof typeof lists;
export type ListQuery<N extends ListName> = Parameters<(typeof lists)[N]>[1];
export type ListResult<N extends ListName> = ReturnType<(typeof lists)[N]>;

/** A list, and the position in the log that it shows. */
export interface Listed<N extends ListName> {
  result: ListResult<N>;
  position: LogPosition;
}

export function runList<N extends ListName>(
  db: Connection,
  name: N,
  query: ListQuery<N>,
  settings: ListSettings,
): Listed<N> {
  const list = lists[name] as (db: Connection, query: ListQuery<N>, settings: ListSettings) => ListResult<N>;
  return db.snapshot(() => ({ result: list(db, query, settings), position: positionIn(db) }));
}

function positionIn(db: Connection): LogPosition {
  return { ...db.query<LogPosition>('SELECT generation, epoch, revision, hash FROM position').get()! };
}
