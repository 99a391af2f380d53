import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import { startLoader } from '../../src/loader/index.ts';
import { ensureStream, readHead, STREAM, streamInfo } from '../../src/log/stream.ts';
import { temporaryFolder } from '../support/folder.ts';
import { connected, SERVERS, startNats, type TestServer } from '../support/nats.ts';
import { cliWith, MAIN, type Program, type Run, startProgram } from '../support/program.ts';
import { laid, ok, publish, until, volumeFolder, wholeHistory } from './support.ts';

const silent = { debug() {}, info() {}, warn() {}, error() {} };

/** A folder with a key pair from the command, and paths for files. */
async function keys() {
  const folder = await temporaryFolder();
  const at = (name: string) => join(folder, name);
  const created = await cliWith({}, 'checkpoint', 'key', at('private.pem'), at('public.pem'));
  expect(created).toMatchObject({ code: 0 });
  return { at, privateKey: at('private.pem'), publicKey: at('public.pem') };
}

/** Publishes versions and moves production three times. */
async function history(program: Program): Promise<void> {
  await publish(program, '1.0.0');
  await publish(program, '1.1.0');
  await publish(program, '1.0.0', { 'a.txt': 'fraud' }, 'fraud');
  for (const version of ['1.0.0', '1.1.0']) {
    await ok(program, 'POST', `/api/registry/models/${version}/activate`, { reason: `now ${version}` });
  }
  await ok(program, 'POST', '/api/registry/rollback', { reason: 'worse' });
}

function serveOn(nats: TestServer, volume: string, more: Record<string, string> = {}): Promise<Program> {
  return startProgram(volume, { NATS_URL: nats.url, REGISTRY_DISCOVERY: 'off', ...more });
}

const on = (nats: TestServer) => ({ NATS_URL: nats.url });
const fine = (run: Run) => expect(run, run.stderr).toMatchObject({ code: 0 });
const { binary } = SERVERS[0]!;

describe('keys', () => {
  test('are never replaced, and only the owner can read the private key', async () => {
    const { privateKey, publicKey } = await keys();
    expect((await stat(privateKey)).mode & 0o777).toBe(0o600);
    const before = await readFile(privateKey, 'utf8');
    expect(await cliWith({}, 'checkpoint', 'key', privateKey, publicKey)).toMatchObject({ code: 1 });
    expect(await readFile(privateKey, 'utf8')).toBe(before);
    expect(before).toMatch(/^-----BEGIN PRIVATE KEY-----/);
    expect(await readFile(publicKey, 'utf8')).toMatch(/^-----BEGIN PUBLIC KEY-----/);
  });
});

describe.each(SERVERS)('on the $name nats-server', { timeout: 120_000 }, ({ binary }) => {
  test('a log is exported and restored, and the registry works as before', async () => {
    const { at, privateKey, publicKey } = await keys();
    const [old, fresh] = [await startNats(binary()), await startNats(binary())];
    const volume = await volumeFolder();
    const first = await serveOn(old, volume);
    await history(first);
    const loader = await startLoader({
      model: 'default',
      environment: 'production',
      dsn: first.url,
      token: await first.token(),
      cacheDir: await temporaryFolder(),
      hydrate: (_, files) => readFile(files.path('a.txt'), 'utf8'),
      log: silent,
    });
    onTestFinished(() => loader.close());
    await loader.ready();
    expect(await loader.use(({ model }) => model)).toBe('1.0.0');

    fine(await cliWith(on(old), 'checkpoint', 'save', at('kept.jws'), '--key', privateKey));
    fine(await cliWith(on(old), 'export', at('log.jsonl'), '--key', privateKey));
    expect((await stat(at('log.jsonl'))).mode & 0o777).toBe(0o600);
    const events = await wholeHistory(first);
    const active = await ok(first, 'GET', '/api/registry/models/active');
    await first.stop();

    const restoring = ['restore', at('log.jsonl'), '--key', publicKey];
    expect(await cliWith(on(fresh), ...restoring)).toMatchObject({ code: 2, stderr: expect.stringContaining('--yes') });
    expect(await cliWith(on(fresh), ...restoring, '--yes')).toMatchObject({
      code: 0,
      stdout: 'Restored the log to revision 6, as generation 1.\n',
    });
    expect(await cliWith(on(fresh), ...restoring, '--yes')).toMatchObject({
      code: 3,
      stderr: expect.stringContaining('is not empty: it ends at revision 6'),
    });
    expect(await cliWith(on(fresh), 'checkpoint', 'check', at('kept.jws'), '--key', publicKey)).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('agrees; the log was restored since then, as generation 1'),
    });

    const again = await serveOn(fresh, volume, { PORT: new URL(first.url).port });
    expect(await wholeHistory(again)).toEqual(events);
    expect(await ok(again, 'GET', '/api/registry/models/active')).toEqual(active);
    expect(await ok(again, 'GET', '/readyz')).toMatchObject({ ready: true, gaps: [], frozen: [], volume: [] });
    await ok(again, 'POST', '/api/registry/models/1.1.0/activate', { reason: 'after the restore' });
    await until(() => loader.use(({ model }) => model === '1.1.0'));
  });

  test('no registry or loader follows an unfinished restore, and repeating it continues', async () => {
    const { at } = await keys();
    const [old, fresh] = [await startNats(binary()), await startNats(binary())];
    const first = await serveOn(old, await volumeFolder());
    await history(first);
    fine(await cliWith(on(old), 'export', at('log.jsonl')));

    // The state in the middle of a restore: the marker, and the start of the log.
    const [from, to] = [await connected(old), await connected(fresh)];
    const { config } = await from.jsm.streams.info(STREAM);
    await to.jsm.streams.add({ ...config, metadata: { generation: '4', restoring: 'true' } });
    for (const seq of [1, 2, 3]) {
      const message = await from.jsm.streams.getMessage(STREAM, { seq });
      await to.js.publish(message!.subject, message!.data);
    }
    await expect(serveOn(fresh, await volumeFolder())).rejects.toThrow('run signalbox restore again');
    expect(await cliWith(on(fresh), 'export', '-')).toMatchObject({ code: 5, stdout: '' });

    expect(await cliWith(on(fresh), 'restore', at('log.jsonl'), '--yes', '--generation', '7')).toMatchObject({
      code: 0,
      stdout: 'Restored the log to revision 6, as generation 7.\n',
    });
    const restored = await serveOn(fresh, await volumeFolder());
    expect(await wholeHistory(restored)).toEqual(await wholeHistory(first));
    const mistaken = await cliWith(on(fresh), 'restore', '1.0.0');
    expect(mistaken).toMatchObject({ code: 2, stderr: expect.stringContaining('signalbox unarchive') });
  });

  test('repeating a killed restore continues it, and keeps messages that are not events', async () => {
    const { at } = await keys();
    const [old, fresh] = [await startNats(binary()), await startNats(binary())];
    const [from, to] = [await connected(old), await connected(fresh)];
    await ensureStream(from);
    const bodies = Array.from({ length: 5_000 }, (_, i) =>
      i % 2 ? Buffer.from([0xff, i % 256]) : Buffer.from(`${i}`),
    );
    await Promise.all(bodies.map((body, i) => from.js.publish(`registry.models.m${i % 5}`, body, { timeout: 60_000 })));
    fine(await cliWith(on(old), 'export', at('log.jsonl')));

    const first = spawn(process.execPath, [MAIN, 'restore', at('log.jsonl'), '--yes'], {
      env: { ...process.env, ...on(fresh) },
      stdio: 'ignore',
    });
    const ended = once(first, 'exit');
    const headOf = async () => (await streamInfo(to.jsm))?.state.last_seq ?? 0;
    while ((await headOf()) < 500 && first.exitCode === null) await sleep(5);
    first.kill('SIGKILL');
    await ended;
    expect(await readHead(to)).toMatchObject({ generation: 0, restoring: true });
    const again = await cliWith(on(fresh), 'restore', at('log.jsonl'), '--yes');
    expect(again).toMatchObject({ code: 0, stderr: expect.stringContaining('The chain of m0 breaks at revision 1') });
    expect(await readHead(to)).toEqual({ revision: 5_000, generation: 1, restoring: false });
    fine(await cliWith(on(fresh), 'export', at('again.jsonl')));
    const bodiesIn = async (name: string) =>
      (await readFile(at(name), 'utf8'))
        .split('\n')
        .slice(1, -2)
        .map((line) => ({ ...JSON.parse(line), stored_at: null }));
    expect(await bodiesIn('again.jsonl')).toEqual(await bodiesIn('log.jsonl'));
  });

  test('a restore does not continue if the stream contains other messages', async () => {
    const { at } = await keys();
    const [old, fresh] = [await startNats(binary()), await startNats(binary())];
    const first = await serveOn(old, await volumeFolder());
    await history(first);
    fine(await cliWith(on(old), 'export', at('log.jsonl')));
    const { config } = await (await connected(old)).jsm.streams.info(STREAM);
    const to = await connected(fresh);
    await to.jsm.streams.add({ ...config, metadata: { restoring: 'true' } });
    await to.js.publish('registry.models.default', 'hello');
    expect(await cliWith(on(fresh), 'restore', at('log.jsonl'), '--yes')).toMatchObject({
      code: 7,
      stderr: expect.stringContaining('at revision 1. Delete it'),
    });
    await expect(serveOn(fresh, await volumeFolder())).rejects.toThrow('is not finished');
  });
});

describe('a log that changed', { timeout: 120_000 }, () => {
  test('is refused with a reason and an exit code', async () => {
    const { at, privateKey, publicKey } = await keys();
    const nats = await startNats(binary());
    const program = await serveOn(nats, await volumeFolder());
    const check = (...more: string[]) => cliWith(on(nats), 'checkpoint', 'check', ...more, '--key', publicKey);
    await mkdir(at('kept'));
    const save = (name: string) => cliWith(on(nats), 'checkpoint', 'save', at(`kept/${name}`), '--key', privateKey);
    await publish(program, '1.0.0');
    fine(await save('a.jws'));
    await history2(program);
    fine(await save('b.jws'));
    fine(await cliWith(on(nats), 'export', at('log.jsonl')));
    fine(await check(at('kept')));
    fine(await check(at('kept'), '--file', at('log.jsonl')));

    const lines = (await readFile(at('log.jsonl'), 'utf8')).split('\n');
    await writeFile(at('edited.jsonl'), lines.with(2, lines[2]!.replace('1.1.0', '1.2.0')).join('\n'));
    await writeFile(at('cut.jsonl'), lines.slice(0, 3).join('\n'));
    const refusals: [string, string][] = [
      ['edited.jsonl', 'line 5: the file was changed after it was written'],
      ['cut.jsonl', 'line 3: the file was cut off'],
    ];
    for (const [name, reason] of refusals) {
      const refused = { code: 7, stderr: expect.stringContaining(reason) };
      expect(await check(at('kept'), '--file', at(name))).toMatchObject(refused);
      expect(await cliWith(on(nats), 'restore', at(name), '--yes')).toMatchObject(refused);
    }
    const unsigned = await cliWith(on(nats), 'restore', at('log.jsonl'), '--yes', '--key', publicKey);
    expect(unsigned).toMatchObject({ code: 7, stderr: expect.stringContaining('is not signed') });

    // A raw message: the server stores it as any other.
    const other = await connected(nats);
    await other.js.publish('registry.models.default', 'hello');
    expect(await check(at('kept'))).toMatchObject({
      code: 7,
      stdout: expect.stringContaining('The chain of default breaks at revision 4: it is not an event'),
    });

    await other.jsm.streams.delete(STREAM);
    await program.stop();
    const anew = await serveOn(nats, await volumeFolder());
    await publish(anew, '9.0.0');
    const { code, stdout } = await check(at('kept'));
    expect([code, stdout]).toEqual([7, expect.stringMatching(/a\.jws +1 +refused: it is another log/)]);
    expect(stdout).toMatch(/b\.jws +3 +refused: it is another log/);

    const { publicKey: foreign } = await keys();
    expect(await cliWith(on(nats), 'checkpoint', 'check', at('kept/a.jws'), '--key', foreign)).toMatchObject({
      code: 7,
      stdout: expect.stringContaining('it was signed with the key'),
    });
  });

  async function history2(program: Program): Promise<void> {
    await publish(program, '1.1.0');
    await ok(program, 'POST', '/api/registry/models/1.1.0/activate', {});
  }

  test('is read from NATS_URL if it is set, and only there', async () => {
    const { at } = await keys();
    const empty = await volumeFolder();
    const nowhere = { NATS_URL: '', REGISTRY_VOLUME: empty };
    expect(await cliWith(nowhere, 'export', at('log.jsonl'))).toMatchObject({
      code: 4,
      stderr: expect.stringContaining('set REGISTRY_VOLUME or NATS_URL'),
    });
    expect(await readdir(empty)).toEqual([]);
    const nats = await startNats(binary());
    expect(await cliWith(on(nats), 'export', at('log.jsonl'))).toMatchObject({ code: 4 });
    await nats.kill();
    expect(await cliWith(on(nats), 'export', at('log.jsonl'))).toMatchObject({ code: 5 });
    await expect(stat(at('log.jsonl'))).rejects.toThrow('ENOENT');
  });
});

describe('the log on a volume', { timeout: 120_000 }, () => {
  test('is read from a running and a stopped registry, and restored onto another volume', async () => {
    const { at } = await keys();
    const volume = await volumeFolder();
    const program = await startProgram(volume, { REGISTRY_DISCOVERY: 'off' });
    await history(program);
    const here = { NATS_URL: '', REGISTRY_VOLUME: volume };
    fine(await cliWith(here, 'export', at('running.jsonl')));
    expect(await cliWith(here, 'restore', at('running.jsonl'), '--yes')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('Another Signalbox is running'),
    });
    await program.stop();
    fine(await cliWith(here, 'export', at('stopped.jsonl')));
    const lines = async (name: string) => (await readFile(at(name), 'utf8')).split('\n').slice(0, -2);
    expect(await lines('stopped.jsonl')).toEqual(await lines('running.jsonl'));

    const other = await volumeFolder();
    await cp(join(volume, 'blobs'), join(other, 'blobs'), { recursive: true });
    const there = { NATS_URL: '', REGISTRY_VOLUME: other };
    fine(await cliWith(there, 'restore', at('running.jsonl'), '--yes'));
    const restored = await startProgram(other, { REGISTRY_DISCOVERY: 'off' });
    await laid(restored);
    expect(await ok(restored, 'GET', '/readyz')).toMatchObject({ ready: true, volume: [] });
    expect(await ok(restored, 'GET', '/api/registry/models/active')).toMatchObject({ version: '1.0.0' });
    expect(await readFile(join(other, 'active/production/a.txt'), 'utf8')).toBe('1.0.0');
  });

  test('has versions without bytes if the blobs were not copied', async () => {
    const { at } = await keys();
    const volume = await volumeFolder();
    const program = await startProgram(volume, { REGISTRY_DISCOVERY: 'off' });
    await history(program);
    fine(await cliWith({ NATS_URL: '', REGISTRY_VOLUME: volume }, 'export', at('log.jsonl')));
    const other = await volumeFolder();
    fine(await cliWith({ NATS_URL: '', REGISTRY_VOLUME: other }, 'restore', at('log.jsonl'), '--yes'));
    const restored = await startProgram(other, { REGISTRY_DISCOVERY: 'off' });
    await laid(restored);
    const { artifacts, volume: problems } = await ok(restored, 'GET', '/readyz');
    expect(artifacts).toContainEqual({ model: 'default', version: '1.0.0', environments: ['production'], missing: 1 });
    expect(problems).toEqual([]);
    const refused = await restored.ask('POST', '/api/registry/models/1.1.0/activate', {});
    expect(await refused.json()).toMatchObject({ code: 'artifact-missing' });
  });
});

describe('a registry that publishes checkpoints', { timeout: 120_000 }, () => {
  test('writes them to a folder, and they match the log', async () => {
    const { at, privateKey, publicKey } = await keys();
    const nats = await startNats(binary());
    const volume = await volumeFolder();
    const more = { REGISTRY_CHECKPOINTS: at('kept'), REGISTRY_CHECKPOINT_KEY: privateKey };
    const first = await serveOn(nats, volume);
    await history(first);
    await (await connected(nats)).js.publish('registry.models.fraud', 'a raw message');
    await first.stop();
    for (const version of ['2.0.0', '2.1.0']) {
      const program = await serveOn(nats, volume, more);
      await publish(program, version);
      await program.stop();
    }
    expect((await readdir(at('kept'))).sort()).toEqual(['0-000000000007.jws', '0-000000000008.jws']);
    const { stdout } = await cliWith(on(nats), 'checkpoint', 'check', at('kept'), '--key', publicKey);
    expect(stdout).toMatch(/0-000000000007\.jws +7 +agrees\n0-000000000008\.jws +8 +agrees\n/);
    expect(stdout).toContain('The chain of fraud breaks at revision 7');
  });

  test('sends them to a URL', async () => {
    const { at, privateKey, publicKey } = await keys();
    const received = Promise.withResolvers<object>();
    const store = createServer(async (request, response) => {
      const body = (await request.toArray()).join('');
      response.writeHead(201).end();
      received.resolve({ method: request.method, path: request.url, auth: request.headers.authorization, body });
    }).listen(0, '127.0.0.1');
    onTestFinished(() => void store.close());
    await once(store, 'listening');
    const to = `http://ana:s3cret@127.0.0.1:${(store.address() as AddressInfo).port}/proof/`;
    const nats = await startNats(binary());
    const program = await serveOn(nats, await volumeFolder(), {
      REGISTRY_CHECKPOINTS: to,
      REGISTRY_CHECKPOINT_KEY: privateKey,
    });
    expect(await received.promise).toMatchObject({
      method: 'PUT',
      path: '/proof/0-000000000000.jws',
      auth: `Basic ${Buffer.from('ana:s3cret').toString('base64')}`,
    });
    const { body } = (await received.promise) as { body: string };
    await writeFile(at('sent.jws'), body);
    fine(await cliWith(on(nats), 'checkpoint', 'check', at('sent.jws'), '--key', publicKey));
    expect(program.lines.join('\n')).not.toContain('s3cret');
  });

  test.each([
    [{ REGISTRY_CHECKPOINTS: 'kept' }, 'Set both'],
    [{ REGISTRY_CHECKPOINT_KEY: 'private.pem' }, 'Set both'],
    [{ REGISTRY_CHECKPOINTS: 'https://store/proof', REGISTRY_CHECKPOINT_KEY: 'private.pem' }, 'ends in /'],
    [{ REGISTRY_CHECKPOINTS: 'kept', REGISTRY_CHECKPOINT_KEY: 'missing.pem' }, 'missing.pem'],
  ])('does not start with %j', async (more, reason) => {
    await expect(startProgram(await volumeFolder(), more)).rejects.toThrow(reason);
  });
});
