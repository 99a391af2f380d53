import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { StorageType } from '@nats-io/jetstream';
import { Kvm } from '@nats-io/kv';
import { errors, headers } from '@nats-io/transport-node';
import { describe, expect, onTestFinished, test } from 'vitest';
import { KEYS } from '../../src/access/key-store.ts';
import { NONCES, openNonces } from '../../src/access/nonces.ts';
import type { LoaderView } from '../../src/domain/fleet.ts';
import { startLoader } from '../../src/loader/index.ts';
import { append, isNoResponders } from '../../src/log/append.ts';
import { connectNats, type Nats, parseNatsUrl } from '../../src/log/connection.ts';
import { BUCKET, LOADERS } from '../../src/log/report-streams.ts';
import { openReports } from '../../src/log/reports.ts';
import { ensureStream, STREAM } from '../../src/log/stream.ts';
import { body, stored } from '../log/support.ts';
import { ok, publish, shared, until, volumeFolder } from '../program/support.ts';
import { type Ends, temporaryFolder } from '../support/folder.ts';
import { reportOf } from '../support/loaders.ts';
import { SERVERS } from '../support/nats.ts';
import { cliWith, type Program, startProgram } from '../support/program.ts';
import { fromRoot, startConfigured } from './support.ts';

const CONFIG = 'deploy/nats-access.conf';
const PASSWORDS = { registry: 'NATS_PASSWORD', admin: 'NATS_ADMIN_PASSWORD', fraud: 'NATS_FRAUD_PASSWORD' };
type User = keyof typeof PASSWORDS;

const silent = { debug() {}, info() {}, warn() {}, error() {} };

/** Starts the server, and signs in to it. A user's password is its name and digits. */
async function startServer(binary: string, ends: Ends = onTestFinished) {
  const folder = await temporaryFolder(ends);
  const server = await startConfigured(binary, CONFIG, environment(folder), { folder, ends });
  const urlOf = (user: User) => `nats://${user}:${user}-0123@${server.client}`;
  const as = async (user: User): Promise<Nats> => {
    const nats = await connectNats(parseNatsUrl(urlOf(user)), user);
    ends(() => nats.nc.close());
    return nats;
  };
  return { urlOf, as };
}

function environment(folder: string): Record<string, string> {
  const passwords = Object.entries(PASSWORDS).map(([user, variable]) => [variable, `"${user}-0123"`]);
  return { ...Object.fromEntries(passwords), NATS_STORE_DIR: JSON.stringify(join(folder, 'store')) };
}

test('differs from nats.conf only in its users and accounts', () => {
  const settings = (path: string) =>
    readFileSync(fromRoot(path), 'utf8')
      .replaceAll(/^ *#.*\n/gm, '')
      .replace(/^(authorization|accounts) \{[\s\S]*?^\}/m, '')
      .replaceAll(/\n+/g, '\n');
  expect(settings(CONFIG)).toBe(settings('deploy/nats.conf'));
});

test.each(['NATS_STORE_DIR', ...Object.values(PASSWORDS)])('is refused without %s', async (name) => {
  const { [name]: _, ...env } = environment('/tmp');
  const checked = promisify(execFile)(process.env.NATS_SERVER_BIN!, ['-t', '--config', fromRoot(CONFIG)], { env });
  await expect(checked).rejects.toMatchObject({ code: 1, stderr: expect.stringContaining(`'${name}'`) });
});

describe.each(SERVERS)('on the $name nats-server', ({ binary }) => {
  test('the registry and a loader do their work', async () => {
    const { urlOf } = await startServer(binary());
    const env = { NATS_URL: urlOf('registry'), REGISTRY_DISCOVERY: 'off' };
    const volume = await volumeFolder();
    const first = await startProgram(volume, env);
    const base = '/api/models/fraud';
    for (const version of ['1.0.0', '1.1.0']) await publish(first, version, { 'a.txt': version }, 'fraud');
    await ok(first, 'POST', `${base}/versions/1.0.0/activate`, {});

    const loader = await startLoader({
      model: 'fraud',
      environment: 'production',
      dsn: first.url,
      token: await first.token(),
      endpoint: urlOf('fraud'),
      cacheDir: await temporaryFolder(),
      hydrate: (_, files) => readFile(files.path('a.txt'), 'utf8'),
      log: silent,
    });
    onTestFinished(() => loader.close());
    const serves = (text: string) => until(() => loader.use(({ model }) => model === text));
    const reported = (program: Program, version: string) =>
      until(async () => {
        const { loaders } = await ok(program, 'GET', `${base}/loaders`);
        return loaders.some(({ state, current }: LoaderView) => state === 'ready' && current?.version === version);
      });
    await loader.ready();
    await serves('1.0.0');
    await ok(first, 'POST', `${base}/versions/1.1.0/activate`, {});
    await serves('1.1.0');
    await reported(first, '1.1.0');
    await ok(first, 'POST', `${base}/rollback`, { reason: 'back' });
    await serves('1.0.0');
    const { key } = await ok(first, 'POST', '/api/keys', { name: 'scorer', reach: { allow: ['read'] } });
    await first.stop();

    const again = await startProgram(volume, env);
    await reported(again, '1.0.0');
    const history = await fetch(`${again.url}${base}/history`, { headers: { Authorization: `Bearer ${key}` } });
    const { events } = (await history.json()) as { events: { type: string }[] };
    expect(events.map(({ type }) => type)).toEqual([
      'version.rolled_back',
      ...['version.activated', 'version.activated', 'version.published', 'version.published'],
    ]);
    await ok(again, 'POST', `${base}/versions/1.1.0/activate`, {});
    await serves('1.1.0');
  });

  describe('with a log', () => {
    const started = shared(async (ends) => {
      const { as } = await startServer(binary(), ends);
      const users = { admin: await as('admin'), registry: await as('registry'), fraud: await as('fraud') };
      const { registry } = users;
      await ensureStream(registry);
      for (const model of ['fraud', 'churn']) await append(registry, model, 0, body());
      await (await new Kvm(registry.js).create(KEYS, { storage: StorageType.File })).put('0f3a', '{}');
      await openReports(registry, { maxAgeMs: 3600_000 }).put('churn', 'a', reportOf());
      await openNonces(registry).use('0f3a', 'once');
      return { as, users };
    });

    /** Returns everything that no attempt may change. */
    async function wholeState() {
      const { admin, registry } = started().users;
      const { config, created } = await admin.jsm.streams.info(STREAM);
      const contents = async (stream: string) => {
        const { state } = await registry.jsm.streams.info(stream, { subjects_filter: '>' });
        return [stream, state.first_seq, state.last_seq, state.subjects];
      };
      const others = await Promise.all([`KV_${KEYS}`, `KV_${NONCES}`, `KV_${BUCKET}`, LOADERS].map(contents));
      return { config, created, bodies: await stored(admin), others };
    }

    const publishes = (subject: string) => (nats: Nats) => nats.js.publish(subject, '{}');
    const requests =
      (subject: string, request: object = {}) =>
      (nats: Nats) =>
        nats.nc.request(subject, JSON.stringify(request), { timeout: 10_000 });
    const attempts: [User, string, (nats: Nats) => Promise<unknown>][] = [
      ['registry', 'deletes the log', ({ jsm }) => jsm.streams.delete(STREAM)],
      ['registry', 'purges the log', ({ jsm }) => jsm.streams.purge(STREAM)],
      ['registry', 'changes the log', ({ jsm }) => jsm.streams.update(STREAM, { deny_delete: false })],
      ['registry', 'deletes an event', ({ jsm }) => jsm.streams.deleteMessage(STREAM, 1)],
      ['registry', 'takes a snapshot', requests(`$JS.API.STREAM.SNAPSHOT.${STREAM}`, { deliver_subject: 'here' })],
      ['registry', 'restores a snapshot', requests(`$JS.API.STREAM.RESTORE.${STREAM}`, { config: { name: STREAM } })],
      ['fraud', 'appends to its model', publishes('registry.models.fraud')],
      ['fraud', 'appends to another model', publishes('registry.models.churn')],
      ['fraud', 'reports for another model', publishes(`$KV.${BUCKET}.churn.a`)],
      ['fraud', 'publishes a change of another model', publishes('registry.loaders.churn.a')],
      ['fraud', 'makes a key', publishes(`$KV.${KEYS}.0f3a`)],
      ['fraud', 'uses up a nonce', publishes(`$KV.${NONCES}.0f3a`)],
      ['fraud', 'forgets nonces', ({ jsm }) => jsm.streams.purge(`KV_${NONCES}`)],
      ['fraud', 'reads a key', async ({ js }) => (await new Kvm(js).open(KEYS)).get('0f3a')],
      ['fraud', 'reads keys', ({ jsm }) => jsm.streams.getMessage(`KV_${KEYS}`, { seq: 1 })],
      ['fraud', 'follows keys', ({ js }) => js.consumers.get(`KV_${KEYS}`, {})],
      [
        'fraud',
        'follows another model',
        ({ js }) => js.consumers.get(STREAM, { filter_subjects: 'registry.models.churn' }),
      ],
      ['fraud', 'follows the whole log', ({ js }) => js.consumers.get(STREAM, {})],
      ['fraud', 'reads reports', ({ jsm }) => jsm.streams.getMessage(`KV_${BUCKET}`, { seq: 1 })],
      ['fraud', 'makes a stream', ({ jsm }) => jsm.streams.add({ name: 'MORE', subjects: ['more'] })],
      ['fraud', 'changes the log', ({ jsm }) => jsm.streams.update(STREAM, { deny_delete: false })],
      ['fraud', 'deletes the log', ({ jsm }) => jsm.streams.delete(STREAM)],
      ['fraud', 'purges the log', ({ jsm }) => jsm.streams.purge(STREAM)],
      ['fraud', 'deletes an event', ({ jsm }) => jsm.streams.deleteMessage(STREAM, 1)],
      ['fraud', 'takes a snapshot', requests(`$JS.API.STREAM.SNAPSHOT.${STREAM}`, { deliver_subject: 'here' })],
      ['fraud', 'deletes the keys', ({ jsm }) => jsm.streams.delete(`KV_${KEYS}`)],
    ];

    test.each(attempts)('the server has no responder when %s %s', async (user, _, attempt) => {
      const before = await wholeState();
      const refusal = await attempt(started().users[user]).catch((error: unknown) => error);
      expect(refusal).toSatisfy(isUnheard);
      expect(await wholeState()).toEqual(before);
    });

    test('the log refuses an event that would roll up others', async () => {
      const before = await wholeState();
      const rollup = headers();
      rollup.set('Nats-Rollup', 'all');
      await expect(
        started().users.registry.js.publish('registry.models.fraud', '{}', { headers: rollup }),
      ).rejects.toThrow('rollup');
      expect(await wholeState()).toEqual(before);
    });

    test('a loader receives no messages of other users', async () => {
      const { as, users } = started();
      const other = await as('fraud');
      const heard: string[] = [];
      const marked = Promise.withResolvers<void>();
      const all = users.fraud.nc.subscribe('>', {
        callback(_, { subject }) {
          if (subject === 'mark') marked.resolve();
          else heard.push(subject);
        },
      });
      await users.fraud.nc.flush();
      await append(users.registry, 'overheard', 0, body());
      await users.registry.nc.flush();
      other.nc.publish('mark');
      await marked.promise;
      all.unsubscribe();
      expect(heard).toEqual([]);
    });

    // Within one account both would delete the named stream despite permissions, as VICTIM shows.
    describe('there is no bypass', () => {
      const deletes = '$JS.API.STREAM.DELETE.';
      const missing = JSON.stringify({ seq: 1_000_000 });

      test('with a reply that the server sends elsewhere', async () => {
        const { admin, registry, fraud } = started().users;
        const before = await wholeState();
        for (const reply of [deletes + STREAM, 'log.STREAM.DELETE']) {
          registry.nc.publish(`$JS.API.DIRECT.GET.${STREAM}`, missing, { reply });
        }
        const elsewhere = [
          'registry.models.churn',
          'registry.loaders.churn.a',
          `$KV.${BUCKET}.churn.a`,
          `$KV.${KEYS}.0f3a`,
        ];
        for (const reply of [deletes + STREAM, ...elsewhere]) {
          fraud.nc.publish(`$JS.API.STREAM.MSG.GET.${STREAM}`, '{"seq":1}', { reply });
        }
        await Promise.all([registry.nc.flush(), fraud.nc.flush()]);
        await admin.jsm.streams.add({ name: 'VICTIM', subjects: ['victim'] });
        admin.nc.publish(`$JS.API.DIRECT.GET.${STREAM}`, missing, { reply: `${deletes}VICTIM` });
        await until(async () => !(await namesOf(admin)).includes('VICTIM'));
        expect(await wholeState()).toEqual(before);
      });

      test('with a stream that republishes stored messages', async () => {
        const { registry } = started().users;
        const before = await wholeState();
        await registry.jsm.streams.add({
          name: 'VICTIM',
          subjects: ['victim.*'],
          republish: { src: 'victim.*', dest: `${deletes}{{wildcard(1)}}`, headers_only: true },
        });
        for (const named of [STREAM, 'VICTIM']) registry.nc.publish(`victim.${named}`);
        await until(async () => !(await namesOf(registry)).includes('VICTIM'));
        expect(await wholeState()).toEqual(before);
      });
    });
  });

  test('the registry exports the log, and only the admin restores it', async () => {
    const { as, urlOf } = await startServer(binary());
    const registry = await as('registry');
    await ensureStream(registry);
    for (const model of ['fraud', 'churn']) await append(registry, model, 0, body());
    const bodies = await stored(registry);
    const path = join(await temporaryFolder(), 'log.jsonl');
    const run = (user: User, ...args: string[]) => cliWith({ NATS_URL: urlOf(user) }, ...args);
    expect(await run('registry', 'export', path)).toMatchObject({ code: 0 });
    const admin = await as('admin');
    await admin.jsm.streams.delete(STREAM);
    expect(await run('registry', 'restore', path, '--yes')).toMatchObject({
      code: 3,
      stderr: expect.stringContaining('use the user admin'),
    });
    expect(await run('admin', 'restore', path, '--yes')).toMatchObject({ code: 0 });
    expect(await stored(registry)).toEqual(bodies);
    await ensureStream(registry);
  });

  test('the admin may do everything else', async () => {
    const { as } = await startServer(binary());
    await ensureStream(await as('registry'));
    const { jsm } = await as('admin');
    const { config } = await jsm.streams.update(STREAM, { metadata: { generation: '1' } });
    expect(config.metadata).toMatchObject({ generation: '1' });
    expect(await jsm.streams.delete(STREAM)).toBe(true);
  });
});

/** A subject that is not imported has no responders. */
function isUnheard(error: unknown): boolean {
  return isNoResponders(error) || (error instanceof errors.RequestError && error.isNoResponders());
}

async function namesOf({ jsm }: Nats): Promise<string[]> {
  const names: string[] = [];
  for await (const name of jsm.streams.names()) names.push(name);
  return names;
}
