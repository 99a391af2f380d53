import { expect, it } from 'vitest';
import { openNonces } from '../../src/access/nonces.ts';
import { connected, SERVERS, startNats } from '../support/nats.ts';

it.each(SERVERS)('a nonce of a key is good once on the $name nats-server', async ({ binary }) => {
  const nats = await connected(await startNats(binary()));
  const nonces = openNonces(nats);
  await nonces.use('a', 'first');
  await nonces.use('a', 'second');
  await nonces.use('b', 'first');
  for (const again of [nonces, openNonces(nats)]) {
    await expect(again.use('a', 'first')).rejects.toMatchObject({ code: 'unauthenticated' });
  }
});
