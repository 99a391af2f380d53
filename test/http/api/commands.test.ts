import { expect, test } from 'vitest';
import type { Services } from '../../../src/http/services.ts';
import { createTestApp, tokenOf } from '../support.ts';

test('a stored command whose version cannot be read back is not answered as if nothing was stored', async () => {
  const stored = async () => {
    const model = readModel.model('fraud');
    readModel.close();
    return { model, event: null, revision: 3, stored: true, warnings: [], checks: [] };
  };
  const { request, readModel } = await createTestApp({ execute: stored as Services['execute'] });
  const headers = await tokenOf('ana', 'admin');
  const response = await request('/api/models/fraud/versions/1.0.0/archive', { method: 'POST', headers });
  expect([response.status, await response.json()]).toMatchObject([503, { code: 'outcome-unknown' }]);
});
