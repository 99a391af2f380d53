import { Registry } from 'prom-client';
import { expect, test } from 'vitest';
import { addGauges } from '../../src/metrics/gauges.ts';

test.each([
  ['fails', () => Promise.reject(new Error('EIO'))],
  ['does not answer', () => new Promise<number>(() => {})],
])('exports the other metrics if the volume %s', async (_, freeBytes) => {
  const register = new Registry();
  addGauges(register, {
    version: '1.0.0',
    environments: ['production'],
    state: () => 'live',
    onState: () => {},
    revision: () => 7,
    head: async () => 9,
    gaps: () => 0,
    models: () => ({ known: 1, frozen: 0 }),
    loaders: () => [],
    followers: () => 0,
    progress: () => ({ laid: 0, total: 0 }),
    problems: () => ({}),
    freeBytes,
    now: () => 0,
  });
  const text = await register.metrics();
  expect(text).toContain('signalbox_volume_free_bytes Nan');
  expect(text).toContain('signalbox_projection_lag_revisions 2');
});
