import { expect, it } from 'vitest';
import { startNats } from '../support/nats.ts';
import { startProgram } from '../support/program.ts';
import { startTcpProxy } from '../support/proxy.ts';
import { ok, problemOf, publish, volumeFolder } from './support.ts';

it('a server that is late waits for the revision that a caller has seen on another server, or says that it is late', async () => {
  const nats = await startNats(process.env.NATS_SERVER_BIN!);
  const proxy = await startTcpProxy(nats.url);
  const off = { REGISTRY_DISCOVERY: 'off' };
  const first = await startProgram(await volumeFolder(), { NATS_URL: nats.url, ...off });
  const late = await startProgram(await volumeFolder(), { NATS_URL: `nats://127.0.0.1:${proxy.port}`, ...off });
  const version = '/api/models/default/versions/1.0.0';
  const read = (token: string) => late.ask('GET', version, undefined, { 'Registry-Min-Revision': token });

  proxy.hold();
  await publish(first, '1.0.0');
  const published = (await first.ask('GET', version)).headers.get('registry-revision')!;
  await problemOf(await late.ask('GET', version), 404, 'unknown-model');
  const { min_revision, reached } = await problemOf(await read(published), 503, 'not-caught-up');
  expect([min_revision, reached]).toEqual([published, '0-empty-0']);

  // The server learns the revision while requests wait for it: a read and a command, which would be refused before it.
  const path = '/api/models/default/versions/1.0.0/notes';
  const waiting = Promise.all([
    read(published),
    late.ask('PATCH', path, { notes: 'seen' }, { 'Registry-Min-Revision': published }),
  ]);
  await late.ask('GET', '/healthz');
  proxy.heal();
  expect((await waiting).map(({ status }) => status)).toEqual([200, 200]);

  // The caller goes on with what the second server answered.
  const changed = (await waiting)[1].headers.get('registry-revision')!;
  const answer = await first.ask('GET', version, undefined, { 'Registry-Min-Revision': changed });
  expect(JSON.parse(await answer.text()).notes).toBe('seen');
  expect(await ok(first, 'GET', version)).toMatchObject({ notes: 'seen' });
}, 60_000);
