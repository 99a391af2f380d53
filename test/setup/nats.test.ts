import { expect, test } from 'vitest';
import { ensureStream, STREAM } from '../../src/log/stream.ts';
import type { Check } from '../../src/setup/check.ts';
import { checkNats } from '../../src/setup/nats.ts';
import { until } from '../log/support.ts';
import { connected, startCluster } from '../support/nats.ts';

test('reports a log with one copy and an offline server in a cluster', { timeout: 120_000 }, async () => {
  const servers = await startCluster(process.env.NATS_SERVER_BIN!);
  const nats = await connected(...servers);
  const url = servers.map(({ url }) => url).join(',');
  const replicas = async () => (await checkNats(url)).find(({ name }) => name === 'replicas') as Check;

  await ensureStream(nats);
  await until(async () => (await replicas())?.status === 'ok');
  await servers[0]!.kill();
  await until(async () => (await replicas())?.status === 'warning');
  expect(await replicas()).toMatchObject({ detail: expect.stringMatching(/of 3 copies/) });
  await servers[0]!.start();
  await until(async () => (await replicas())?.status === 'ok');

  const { config } = (await nats.jsm.streams.info(STREAM))!;
  await nats.jsm.streams.delete(STREAM);
  await nats.jsm.streams.add({ ...config, num_replicas: 1 });
  expect(await replicas()).toMatchObject({ status: 'warning', detail: expect.stringContaining('one copy') });
});
