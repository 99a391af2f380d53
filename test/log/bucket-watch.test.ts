import { Kvm } from '@nats-io/kv';
import { describe, expect, onTestFinished, test } from 'vitest';
import { watchBucket } from '../../src/log/bucket-watch.ts';
import { connected, SERVERS, startNats } from '../support/nats.ts';
import { until } from './support.ts';

describe.each(SERVERS)('a watched bucket on the $name server', ({ binary }) => {
  test('has caught up, also when what it waited for is gone before it came', async () => {
    const nats = await connected(await startNats(binary()));
    const bucket = await new Kvm(nats.js).create('things');
    for (const key of ['a', 'b', 'c']) await bucket.put(key, '1');
    const heard: string[] = [];
    let caughtUp = false;
    const emptied = Promise.withResolvers<unknown>();
    const watch = watchBucket(nats, 'things', async () => {}, {
      begun: () => {
        emptied.resolve(nats.jsm.streams.purge('KV_things'));
      },
      entry: ({ key }) => heard.push(key),
      caughtUp: () => {
        caughtUp = true;
      },
      state: () => {},
    });
    onTestFinished(() => watch.close());
    await emptied.promise;
    await bucket.put('d', '1');
    await until(() => heard.includes('d'));
    expect(caughtUp).toBe(true);
  });
});
