import type { Tenure } from '../../api/tenure.ts';
import type { Connection, Value } from '../read-model/connection.ts';
import { modelId } from '../read-model/models.ts';
import { MOVES } from '../read-model/past-model.ts';
import { type Page, type PageStart, pageOf, revisionOf } from './page.ts';

export interface TimelineQuery extends PageStart {
  model: string;
  environment?: string | undefined;
}

/** Lists the tenures of a model's environments: which version was active from when until when. Newest first. */
export function listTenures(db: Connection, { model, environment, below, page_size }: TimelineQuery): Page {
  const where = environment === undefined ? '' : 'AND e.environment = ?';
  const sql = `SELECT e.environment, e.version, e.previous, e.type, e.time AS since, e.actor AS by,
      e.data ->> '$.reason' AS reason, e.revision, (
      SELECT n.time FROM event n WHERE n.model = e.model AND n.environment = e.environment AND n.revision > e.revision
        AND n.${MOVES} ORDER BY n.revision LIMIT 1) AS until
    FROM event e WHERE e.model = ? AND e.environment IS NOT NULL AND e.revision < ?
      AND e.${MOVES} ${where} ORDER BY e.revision DESC`;
  const values: Value[] = [modelId(db, model), below, ...(environment === undefined ? [] : [environment])];
  return pageOf(db.query<Tenure>(sql).iterate(...values), page_size, (tenure) => JSON.stringify(tenure), revisionOf);
}
