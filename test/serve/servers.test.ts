import { hostname } from 'node:os';
import { pino } from 'pino';
import { expect, onTestFinished, test } from 'vitest';
import { EVENT_VERSIONS } from '../../src/domain/events.ts';
import { watchServers } from '../../src/log/servers.ts';
import { startServers } from '../../src/serve/servers.ts';
import { until } from '../log/support.ts';
import { connected, SERVERS, startNats } from '../support/nats.ts';

const log = pino({ level: 'silent' });
const now = () => new Date('2026-03-03T14:05:00Z');

test('a server announces what it reads once its address is known, until it is closed', async () => {
  const nats = await connected(await startNats(SERVERS[0]!.binary()));
  const undo: (() => unknown)[] = [];
  const servers = startServers({ nats, log, version: '0.2.0', now }, (close) => undo.push(close));
  const other = watchServers(nats, { log });
  onTestFinished(() => other.close());
  servers.announce('http://127.0.0.1:3000');
  await until(() => servers.all().length === 1 && other.all().length === 1);
  expect(other.all()).toEqual([
    {
      server: expect.any(String),
      version: '0.2.0',
      address: 'http://127.0.0.1:3000',
      host: hostname(),
      pid: process.pid,
      started_at: '2026-03-03T14:05:00.000Z',
      reads: EVENT_VERSIONS,
    },
  ]);
  expect(servers.unableToRead('notes.changed', EVENT_VERSIONS['notes.changed'])).toBeNull();
  expect(servers.unableToRead('notes.changed', EVENT_VERSIONS['notes.changed'] + 1)).toMatchObject({
    pid: process.pid,
  });
  for (const close of undo) await close();
  await until(() => other.all().length === 0);
});

test('a server that never listened closes without an announcement', async () => {
  const nats = await connected(await startNats(SERVERS[0]!.binary()));
  const undo: (() => unknown)[] = [];
  startServers({ nats, log, version: '0.2.0', now }, (close) => undo.push(close));
  for (const close of undo) await close();
});
