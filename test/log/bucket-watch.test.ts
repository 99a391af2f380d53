import { Kvm } from '@nats-io/kv';
import { describe, expect, onTestFinished, test } from 'vitest';
import { watchBucket } from '../../src/log/bucket-watch.ts';
import { connected, SERVERS, startNats } from '../support/nats.ts';
import { until } from './support.ts';

describe.each(SERVERS)('watching a bucket on the $name server', ({ binary }) => {
  test('catches up even if pending entries are removed before they are delivered', async () => {
    const nats = await connected(await startNats(binary()));
    const bucket = await new Kvm(nats.js).create('things');
    for (const key of ['a', 'b', 'c']) await bucket.put(key, '1');
    const keys: string[] = [];
    let caughtUp = false;
    const emptied = Promise.withResolvers<unknown>();
    const watch = watchBucket(nats, 'things', async () => {}, {
      begun: () => {
        emptied.resolve(nats.jsm.streams.purge('KV_things'));
      },
      entry: ({ key }) => keys.push(key),
      caughtUp: () => {
        caughtUp = true;
      },
      state: () => {},
    });
    onTestFinished(() => watch.close());
    await emptied.promise;
    await bucket.put('d', '1');
    await until(() => keys.includes('d'));
    expect(caughtUp).toBe(true);
  });
});
