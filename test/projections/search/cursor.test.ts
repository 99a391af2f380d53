import { expect, test } from 'vitest';
import { publish } from '../../../src/commands/publish.ts';
import { findModels } from '../../../src/projections/search/models.ts';
import { findVersions } from '../../../src/projections/search/versions.ts';
import { parseOrder } from '../../../src/search/order.ts';
import { file } from '../../commands/support.ts';
import { createLogbook } from '../../support/logbook.ts';

// Page tokens are not signed: a caller may write any revision into one.

const at = { at: '2026-03-03T14:05:00.000Z' };
const { give, readModel } = createLogbook();
give(publish, 'secret', { version: '1.0.0', artifacts: [file()], metrics: { auc: 0.5 } }, at);
const secret = 1;
for (const [i, auc] of [0.2, 0.4, 0.6, 0.8].entries()) {
  give(publish, 'mine', { version: `1.${i}.0`, artifacts: [file()], metrics: { auc } }, at);
}
readModel.commit();

test('a cursor at a version of another model says nothing of its values', () => {
  const { id: model } = readModel.db.query<{ id: number }>('SELECT id FROM model WHERE name = ?').get('mine')!;
  const order = parseOrder('metrics.auc', 'versions');
  const after = { revision: secret, values: [] };
  const find = () => findVersions(readModel.db, { model, filter: null, order, after, limit: 10 });
  expect(find).toThrow('another listing');
});

test('a cursor at a model that the caller may not see says nothing of its values', () => {
  const order = parseOrder('metrics.auc', 'models');
  const find = (name: string) => {
    const after = { revision: secret, name, values: [] };
    return findModels(readModel.db, { filter: null, order, after, limit: 10, visible: (model) => model === 'mine' });
  };
  expect(() => find('secret')).toThrow('another listing');
  expect(() => find('mine')).toThrow('another listing');
});
