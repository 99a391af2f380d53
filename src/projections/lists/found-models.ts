import { allows, type Policy } from '../../access/policy.ts';
import { MAX_COUNT } from '../../api/page.ts';
import type { Connection } from '../read-model/connection.ts';
import { countModels, findModels } from '../search/models.ts';
import type { Cursor } from '../search/order.ts';
import type { Search } from './found-versions.ts';
import { type ModelRow, type ModelsQuery, modelJson } from './models.ts';
import { type Page, pageOf } from './page.ts';

export interface FoundModelsQuery extends Search, Pick<ModelsQuery, 'identity'> {}

/** Lists the models that a filter matches and that the caller may read, in an order. */
export function findAmongModels(
  db: Connection,
  { filter, order, after, page_size, count, identity }: FoundModelsQuery,
  { policy, environments }: { policy: Policy; environments: readonly string[] },
): Page<Cursor> {
  const visible = (model: string) => allows(policy, identity, { permission: 'read', model });
  const found = findModels(db, { filter, order, after, limit: page_size + 1, visible });
  const row = db.query<ModelRow>('SELECT id, name, latest, versions, revision FROM model WHERE id = ?');
  const json = ({ id }: { id: number }) => modelJson(db, row.get(id)!, environments);
  const page = pageOf(found, page_size, json, ({ cursor }) => cursor);
  return count ? { ...page, count: Math.min(countModels(db, { filter, visible }), MAX_COUNT) } : page;
}
