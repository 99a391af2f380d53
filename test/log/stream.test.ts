import { JetStreamApiError, type StreamConfig } from '@nats-io/jetstream';
import { describe, expect, test } from 'vitest';
import { ensureStream, readHead, STREAM } from '../../src/log/stream.ts';
import { connected, SERVERS, startCluster, startNats, type TestServer } from '../support/nats.ts';
import { appendAll, insist, startClusterLog, startLog, stored, until, upTo } from './support.ts';

describe.each(SERVERS)('the stream on the $name server', { timeout: 60_000 }, ({ name, binary }) => {
  test('is created once, with the settings of an append-only log', async () => {
    const { nats } = await startLog(binary());
    const { config } = await nats.jsm.streams.info(STREAM);
    expect(config).toMatchObject({
      name: 'REGISTRY',
      subjects: ['registry.models.*'],
      storage: 'file',
      retention: 'limits',
      discard: 'new',
      deny_delete: true,
      deny_purge: true,
      max_age: 0,
      max_msgs: -1,
      max_msgs_per_subject: -1,
      max_msg_size: 512 * 1024,
      num_replicas: 1,
      metadata: { application: 'signalbox', generation: '0' },
    });
    expect(config.allow_rollup_hdrs ?? false).toBe(false);
    await appendAll(nats, 'fraud', 1);
    await ensureStream(nats);
    expect((await nats.jsm.streams.info(STREAM)).config).toEqual(config);
    expect(await stored(nats)).toHaveLength(1);
  });

  test('is created once by servers that start at the same time', async () => {
    const server = await startNats(binary());
    const all = await Promise.all(upTo(4).map(() => connected(server)));
    await Promise.all(all.map(ensureStream));
    expect(await readHead(all[0]!)).toEqual({ revision: 0, generation: 0, restoring: false });
  });

  test('cannot be rewritten: NATS refuses deletes, purges and changes of these settings', async () => {
    const { nats } = await startLog(binary());
    await appendAll(nats, 'fraud', 2);
    const { streams } = nats.jsm;
    const { config } = await streams.info(STREAM);
    await expect(streams.deleteMessage(STREAM, 1)).rejects.toBeInstanceOf(JetStreamApiError);
    await expect(streams.deleteMessage(STREAM, 2, false)).rejects.toBeInstanceOf(JetStreamApiError);
    await expect(streams.purge(STREAM)).rejects.toBeInstanceOf(JetStreamApiError);
    await expect(streams.purge(STREAM, { filter: 'registry.models.fraud' })).rejects.toBeInstanceOf(JetStreamApiError);
    await expect(streams.update(STREAM, { ...config, deny_delete: false })).rejects.toBeInstanceOf(JetStreamApiError);
    await expect(streams.update(STREAM, { ...config, deny_purge: false })).rejects.toBeInstanceOf(JetStreamApiError);
    expect(await stored(nats)).toHaveLength(2);
  });

  const dangerous: [string, Partial<StreamConfig>][] = [
    ['that allows deletes', { deny_delete: false }],
    ['that allows purges', { deny_purge: false }],
    ['that drops the oldest messages', { discard: 'old' }],
    ['that expires messages', { max_age: 3600 * 1e9 }],
    ['with a limit of messages', { max_msgs: 10 }],
    ['with a limit of messages per subject', { max_msgs_per_subject: 1 }],
    ['in memory', { storage: 'memory' }],
    ['with work queue retention', { retention: 'workqueue' }],
    ['that allows rollups', { allow_rollup_hdrs: true, deny_purge: false }],
    ['on other subjects', { subjects: ['registry.models.>'] }],
    ['that compresses', { compression: 's2' }],
    ['that sends no acknowledgements', { no_ack: true }],
    ['that republishes messages', { republish: { src: 'registry.models.*', dest: 'elsewhere.{{wildcard(1)}}' } }],
    ['with another stream as its source', { sources: [{ name: 'OTHER' }] }],
    ['that renames subjects', { subject_transform: { src: 'registry.models.*', dest: 'registry.models.x' } }],
    ['without direct reads', { allow_direct: false }],
  ];
  // The oldest server does not know these.
  if (name === 'current') {
    dangerous.push(['whose messages may have a TTL', { allow_msg_ttl: true }]);
    dangerous.push([
      'that acknowledges before it writes to disk',
      { persist_mode: 'async' as StreamConfig['persist_mode'] },
    ]);
  }

  test('with an unsafe configuration is refused and not changed', async () => {
    const nats = await connected(await startNats(binary()));
    for (const [what, config] of dangerous) {
      // The store of a stream that was just deleted may still block the next one.
      await insist(() => nats.jsm.streams.add({ ...safe, ...config } as StreamConfig));
      const before = (await nats.jsm.streams.info(STREAM)).config;
      await expect(ensureStream(nats), what).rejects.toThrow(/unsafe configuration/);
      expect((await nats.jsm.streams.info(STREAM)).config).toEqual(before);
      await nats.jsm.streams.delete(STREAM);
    }
  });

  test('that an operator created with a safe configuration and a size limit is accepted', async () => {
    const nats = await connected(await startNats(binary()));
    await nats.jsm.streams.add({ ...safe, max_bytes: 1024 * 1024, description: 'mine' });
    await ensureStream(nats);
    await appendAll(nats, 'fraud', 1);
  });

  test('has three replicas in a cluster, and is found again after a restart of all servers', async () => {
    const { servers, nats } = await startClusterLog(binary());
    const { config, cluster } = await nats.jsm.streams.info(STREAM);
    expect(config.num_replicas).toBe(3);
    expect(cluster?.replicas).toHaveLength(2);
    await appendAll(nats, 'fraud', 3);
    await Promise.all(servers.map((server) => server.kill()));
    await Promise.all(servers.map((server) => server.start()));
    const again = await connected(...servers);
    await ensureStream(again);
    expect((await insist(() => readHead(again))).revision).toBe(3);
  });

  // 2.15 also places a stream on a node that is stopped.
  test.runIf(name === 'oldest supported')('is created in a cluster when the last node has started', async () => {
    const [first, second, last] = (await startCluster(binary())) as [TestServer, TestServer, TestServer];
    const nats = await connected(first, second);
    // On SIGTERM a node tells the others that it ends.
    last.process().kill('SIGTERM');
    const other = { name: 'OTHER', subjects: ['other'], num_replicas: 3 };
    const { streams } = nats.jsm;
    const refusal = () =>
      streams
        .add(other)
        .then(() => streams.delete(other.name))
        .catch(codeOf);
    await until(async () => (await refusal()) === NO_SUITABLE_PEERS);
    await last.kill();
    const created = ensureStream(nats);
    await last.start();
    await created;
    expect((await insist(() => streams.info(STREAM))).config.num_replicas).toBe(3);
  });
});

const NO_SUITABLE_PEERS = 10005;

function codeOf(error: unknown): number | null {
  return error instanceof JetStreamApiError ? error.code : null;
}

const safe = {
  name: STREAM,
  subjects: ['registry.models.*'],
  discard: 'new',
  deny_delete: true,
  deny_purge: true,
  allow_direct: true,
} satisfies Partial<StreamConfig>;
