import { JetStreamApiError, type StreamConfig } from '@nats-io/jetstream';
import { describe, expect, test } from 'vitest';
import { ensureStream, readHead, STREAM } from '../../src/log/stream.ts';
import { connected, SERVERS, startNats } from '../support/nats.ts';
import { appendAll, insist, startClusterLog, startLog, stored, upTo } from './support.ts';

describe.each(SERVERS)('the stream on the $name server', { timeout: 60_000 }, ({ name, binary }) => {
  test('is made once, as a log must be', async () => {
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

  test('is made once by servers that start together', async () => {
    const server = await startNats(binary());
    const all = await Promise.all(upTo(4).map(() => connected(server)));
    await Promise.all(all.map(ensureStream));
    expect(await readHead(all[0]!)).toEqual({ revision: 0, generation: 0, restoring: false });
  });

  test('cannot be rewritten: the server refuses deletes, purges and taking that back', async () => {
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
    ['that can be deleted from', { deny_delete: false }],
    ['that can be purged', { deny_purge: false }],
    ['that drops the oldest', { discard: 'old' }],
    ['that forgets with time', { max_age: 3600 * 1e9 }],
    ['that keeps some messages', { max_msgs: 10 }],
    ['that keeps some messages of a subject', { max_msgs_per_subject: 1 }],
    ['in memory', { storage: 'memory' }],
    ['that is a queue', { retention: 'workqueue' }],
    ['that can be rolled up', { allow_rollup_hdrs: true, deny_purge: false }],
    ['on other subjects', { subjects: ['registry.models.>'] }],
    ['that compresses', { compression: 's2' }],
    ['that acknowledges nothing', { no_ack: true }],
    ['that is said again elsewhere', { republish: { src: 'registry.models.*', dest: 'elsewhere.{{wildcard(1)}}' } }],
    ['that takes in another stream', { sources: [{ name: 'OTHER' }] }],
    ['that renames subjects', { subject_transform: { src: 'registry.models.*', dest: 'registry.models.x' } }],
    ['that replicas may not read', { allow_direct: false }],
  ];
  // Not known to the oldest server.
  if (name === 'current') {
    dangerous.push(['whose messages may expire', { allow_msg_ttl: true }]);
    dangerous.push(['that acknowledges before it writes', { persist_mode: 'async' as StreamConfig['persist_mode'] }]);
  }

  test('one with a dangerous configuration is refused and left as it is', async () => {
    const nats = await connected(await startNats(binary()));
    for (const [what, config] of dangerous) {
      // A store that was deleted just now may still be in the way of the next.
      await insist(() => nats.jsm.streams.add({ ...safe, ...config } as StreamConfig));
      const before = (await nats.jsm.streams.info(STREAM)).config;
      await expect(ensureStream(nats), what).rejects.toThrow(/another configuration/);
      expect((await nats.jsm.streams.info(STREAM)).config).toEqual(before);
      await nats.jsm.streams.delete(STREAM);
    }
  });

  test('one that an operator made safely, with limits of his own, is accepted', async () => {
    const nats = await connected(await startNats(binary()));
    await nats.jsm.streams.add({ ...safe, max_bytes: 1024 * 1024, description: 'mine' });
    await ensureStream(nats);
    await appendAll(nats, 'fraud', 1);
  });

  test('in a cluster it has three replicas, and is found again when all servers come back', async () => {
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
});

const safe = {
  name: STREAM,
  subjects: ['registry.models.*'],
  discard: 'new',
  deny_delete: true,
  deny_purge: true,
  allow_direct: true,
} satisfies Partial<StreamConfig>;
