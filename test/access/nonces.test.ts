import { jetstreamManager } from '@nats-io/jetstream';
import { expect, it } from 'vitest';
import { NONCES, NONCES_A_MINUTE, openNonces } from '../../src/access/nonces.ts';
import { createLimiter } from '../../src/structures/limiter.ts';
import { connected, SERVERS, startNats } from '../support/nats.ts';

it.each(SERVERS)('a nonce of a key can be used once on the $name nats-server', async ({ binary }) => {
  const nats = await connected(await startNats(binary()));
  const nonces = openNonces(nats);
  await nonces.use('a', 'first');
  await nonces.use('a', 'second');
  await nonces.use('b', 'first');
  for (const again of [nonces, openNonces(nats)]) {
    await expect(again.use('a', 'first')).rejects.toMatchObject({ code: 'unauthenticated' });
  }
});

it('a key cannot exceed its share, other keys are not affected, and a replay does not count', async () => {
  const nats = await connected(await startNats(process.env.NATS_SERVER_BIN!));
  const nonces = openNonces(nats, createLimiter({ quota: 2, window: 3600 }, Date.now));
  await nonces.use('a', 'first');
  for (let i = 0; i < 5; i++) {
    await expect(nonces.use('a', 'first')).rejects.toMatchObject({ code: 'unauthenticated' });
  }
  await nonces.use('a', 'second');
  await expect(nonces.use('a', 'third')).rejects.toMatchObject({
    code: 'too-many-requests',
    fields: { retry_after: expect.any(Number) },
  });
  await nonces.use('b', 'first');
  const jsm = await jetstreamManager(nats.nc);
  expect((await jsm.streams.info(`KV_${NONCES}`)).state.messages).toBe(3);
});

it.each(SERVERS)(
  'the bucket holds the nonces of six keys at their limit on the $name nats-server',
  async ({ binary }) => {
    const nats = await connected(await startNats(binary()));
    const nonces = openNonces(nats);
    await Promise.all(Array.from({ length: 200 }, (_, i) => nonces.use('0123456789ab', `nonce-${i}`)));
    const jsm = await jetstreamManager(nats.nc);
    const { config, state } = await jsm.streams.info(`KV_${NONCES}`);
    const keptMinutes = config.max_age / 60e9 + 1; // and the current minute
    expect(config.max_bytes / (state.bytes / state.messages)).toBeGreaterThan(6 * keptMinutes * NONCES_A_MINUTE);
  },
);
