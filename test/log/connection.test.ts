import { describe, expect, test } from 'vitest';
import { connectNats, parseNatsUrl } from '../../src/log/connection.ts';
import { connected, fakeServer, SERVERS, startNats } from '../support/nats.ts';
import { until } from './support.ts';

describe('NATS_URL', () => {
  test.each([
    ['nats://127.0.0.1:4222', { servers: ['nats://127.0.0.1:4222'] }],
    ['nats://localhost', { servers: ['nats://localhost'] }],
    ['nats://[::1]:4222', { servers: ['nats://[::1]:4222'] }],
    ['nats://ana:pa%40ss@h:4222', { servers: ['nats://h:4222'], user: 'ana', pass: 'pa@ss' }],
    ['nats://ana:s@a:1,b:2, c:3', { servers: ['nats://a:1', 'nats://b:2', 'nats://c:3'], user: 'ana', pass: 's' }],
    ['nats://ana:s@a:1,nats://ana:s@b:2', { servers: ['nats://a:1', 'nats://b:2'], user: 'ana', pass: 's' }],
    ['tls://a:1,b:2', { servers: ['tls://a:1', 'tls://b:2'] }],
  ])('%s', (text, address) => {
    expect(parseNatsUrl(text)).toEqual(address);
  });

  test.each(['', 'here', 'localhost:4222', 'http://localhost:4222', 'nats://', 'nats://a:1,', 'nats://a:port'])(
    'refuses "%s"',
    (text) => {
      expect(() => parseNatsUrl(text)).toThrow(TypeError);
    },
  );
});

describe('a server that is too old', () => {
  test.each(['2.9.25', '2.10.22'])('%s is refused, and the message names it', async (version) => {
    const url = await fakeServer(version);
    const refused = connectNats({ servers: [url] }, 'test');
    await expect(refused).rejects.toThrow(`nats-server ${version} is too old`);
  });
});

describe('a connection', { timeout: 60_000 }, () => {
  const { binary } = SERVERS[0]!;

  test('survives an outage that is longer than the default retries of the client', async () => {
    const server = await startNats(binary());
    const nats = await connected(server);
    let attempts = 0;
    let reconnected = false;
    const watching = (async () => {
      for await (const { type } of nats.nc.status()) {
        if (type === 'reconnecting') attempts++;
        if (type === 'reconnect') reconnected = true;
      }
    })();
    await server.kill();
    await until(() => attempts > 12); // by default the connection is closed after ten
    await server.start();
    await until(() => reconnected);
    await nats.jsm.getAccountInfo();
    await nats.nc.close();
    await watching;
  });

  test('waits for a server that is not running yet', async () => {
    const server = await startNats(binary());
    await server.kill();
    const connecting = connected(server);
    await server.start();
    await (await connecting).jsm.getAccountInfo();
  });
});

test('with tls:// no password is sent to a server that offers no TLS', async () => {
  const received: string[] = [];
  const url = await fakeServer('2.15.2', received);
  void connectNats(parseNatsUrl(url.replace('nats://', 'tls://ana:secret@')), 'test').catch(() => {});
  await until(() => received.filter((line) => line === 'connected').length > 2);
  expect(new Set(received)).toEqual(new Set(['connected']));
});
