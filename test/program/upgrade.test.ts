import { pino } from 'pino';
import { expect, it } from 'vitest';
import { EVENT_VERSIONS } from '../../src/domain/events.ts';
import { announceServer, type ServerAnnouncement } from '../../src/log/servers.ts';
import { connected, startNats } from '../support/nats.ts';
import { startProgram } from '../support/program.ts';
import { ok, problemOf, publish, until, volumeFolder } from './support.ts';

it('refuses a command whose event a live server cannot read, until that server is stopped', async () => {
  const nats = await startNats(process.env.NATS_SERVER_BIN!);
  const program = await startProgram(await volumeFolder(), { NATS_URL: nats.url });
  const activate = (fields = {}) =>
    program.ask('POST', '/api/models/default/versions/1.0.0/activate', { environment: 'dev', ...fields });
  const before = await ok(program, 'GET', '/api/models');

  const older = announceServer(await connected(nats), olderServer, { log: pino({ level: 'silent' }) });
  await publish(program, '1.0.0');
  await until(async () => (await activate({ dry_run: true })).status === 409);
  const refusal = await problemOf(await activate(), 409, 'upgrade-pending');
  expect(refusal).toMatchObject({ server: 'older', address: olderServer.address, version: '0.0.9' });
  expect(refusal.detail).toContain('http://10.0.0.9:8080');
  expect((await ok(program, 'GET', '/api/models')).models).toMatchObject([{ model: 'default', revision: 1 }]);
  expect(before.models).toEqual([]);

  await older.close();
  await until(async () => (await activate({ dry_run: true })).status === 200);
  expect((await activate()).status).toBe(200);
  expect(await ok(program, 'GET', '/api/models/default/versions/active?environment=dev')).toMatchObject({
    version: '1.0.0',
  });
});

/** A server that follows the same log but does not know activations. */
const { 'version.activated': _, ...reads } = EVENT_VERSIONS;
const olderServer: ServerAnnouncement = {
  server: 'older',
  version: '0.0.9',
  address: 'http://10.0.0.9:8080',
  host: 'older-host',
  pid: 1,
  started_at: '2026-03-03T14:05:00.000Z',
  reads,
};
