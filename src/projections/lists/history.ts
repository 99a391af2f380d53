import { allows, type Identity, type Policy } from '../../access/policy.ts';
import type { EventView } from '../../api/views.ts';
import type { EventType } from '../../domain/events.ts';
import { EVERY_MODEL } from '../../domain/permissions.ts';
import type { Connection, Value } from '../read-model/connection.ts';
import { modelId } from '../read-model/models.ts';
import { revisionAt } from '../read-model/past-model.ts';
import { wordsQuery } from '../search/full-text.ts';
import { jsonWith, type Page, type PageStart, pageOf, revisionOf } from './page.ts';

export interface HistoryQuery extends PageStart {
  /** Without it, the events of every model that the caller may read; each then names its model. */
  model?: string | undefined;
  identity: Identity;
  type?: EventType | undefined;
  environment?: string | undefined;
  /** As the new or the previous version. */
  version?: string | undefined;
  actor?: string | undefined;
  /** Words that the reason of a move contains. */
  reason?: string | undefined;
  /** Milliseconds since 1970, both included. */
  since?: number | undefined;
  until?: number | undefined;
}

interface Row extends Omit<EventView, 'data'> {
  name: string;
  data: string;
}

const COLUMNS = 'e.revision, m.name, e.type, e.time, e.actor, e.request_id, e.data';

/** Lists events, newest first. */
export function listHistory(db: Connection, query: HistoryQuery, { policy }: { policy: Policy }): Page {
  const { conditions, values } = filterOf(db, query, policy);
  const from = query.reason === undefined ? 'event e' : 'reason_text r CROSS JOIN event e ON e.revision = r.rowid';
  const order = query.reason === undefined ? 'e.revision' : 'r.rowid';
  const sql = `SELECT ${COLUMNS} FROM ${from} CROSS JOIN model m ON m.id = e.model
    WHERE ${conditions.join(' AND ')} ORDER BY ${order} DESC`;
  const rows = db.query<Row>(sql).iterate(...values);
  const ofOne = query.model !== undefined;
  const json = ({ name, data, ...row }: Row) => jsonWith(ofOne ? row : { model: name, ...row }, 'data', data);
  return pageOf(rows, query.page_size, json, revisionOf);
}

function filterOf(db: Connection, query: HistoryQuery, policy: Policy): { conditions: string[]; values: Value[] } {
  const { model, identity, type, environment, version, actor, reason, since, until } = query;
  const conditions: string[] = [];
  const values: Value[] = [];
  const add = (condition: string, ...given: Value[]) => {
    conditions.push(condition);
    values.push(...given);
  };
  if (reason !== undefined) {
    const words = wordsQuery(reason);
    if (words === null) add('FALSE');
    else add('r.reason_text MATCH ?', words);
    add('r.rowid < ?', query.below);
  } else add('e.revision < ?', query.below);
  if (model !== undefined) {
    const id = modelId(db, model);
    add('e.model = ?', id);
    // In one model, times never go back: a bound of the revision needs no look at the events outside of it.
    if (since !== undefined) add('e.revision > ?', revisionAt(db, id, since - 1));
    if (until !== undefined) add('e.revision <= ?', revisionAt(db, id, until));
  } else {
    if (since !== undefined) add('e.at >= ?', since);
    if (until !== undefined) add('e.at <= ?', until);
    if (!allows(policy, identity, { permission: 'read', model: EVERY_MODEL })) {
      // The plus keeps SQLite from sorting the events of all these models, where the newest are at the end of the table.
      add('+e.model IN (SELECT value FROM json_each(?))', JSON.stringify(readableModels(db, identity, policy)));
    }
  }
  if (type !== undefined) add('e.type = ?', type);
  if (environment !== undefined) add('e.environment = ?', environment);
  if (actor !== undefined) add('e.actor = ?', actor);
  if (version !== undefined) add('(e.version = ? OR e.previous = ?)', version, version);
  return { conditions, values };
}

/** Returns the ids of the models that the caller may read. SQLite passes over the events of others ten times as fast. */
function readableModels(db: Connection, identity: Identity, policy: Policy): number[] {
  const models = db.query<{ id: number; name: string }>('SELECT id, name FROM model').all();
  return models.filter(({ name }) => allows(policy, identity, { permission: 'read', model: name })).map(({ id }) => id);
}
