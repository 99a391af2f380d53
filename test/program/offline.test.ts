import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdir, open, readFile, writeFile } from 'node:fs/promises';
import { createServer, request } from 'node:http';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it, onTestFinished } from 'vitest';
import { temporaryFolder } from '../support/folder.ts';
import { cli, cliWith, MAIN, type Program, type Run } from '../support/program.ts';
import { emptyProgram, ok, shared, wholeHistory } from './support.ts';

/** Nothing listens at this address. */
const NO_NETWORK = 'http://127.0.0.1:9';

const started = shared(async (ends) => {
  const program = await emptyProgram(ends);
  return { program, key: await keyOf(program, 'publish', 'activate') };
});

async function keyOf(program: Program, ...allow: string[]): Promise<string> {
  const run = await cli(program, 'key', 'create', 'installer', '--signing', '--allow', ...allow);
  expect(run).toMatchObject({ code: 0 });
  return run.stdout.trim();
}

const LARGE = Buffer.alloc(3 * 1024 * 1024, 'model');

async function folderOf(text: string): Promise<string> {
  const folder = await temporaryFolder();
  await writeFile(join(folder, 'model.bin'), LARGE);
  await writeFile(join(folder, 'z.txt'), text);
  return folder;
}

/** Runs a command with the key of the installer. */
const install = (dsn: string, key: string, ...args: string[]): Promise<Run> =>
  cliWith({ REGISTRY_DSN: dsn, REGISTRY_SIGNING_KEY: key, REGISTRY_VOLUME: '/nowhere' }, ...args);

/** Packs a bundle without a network. */
async function pack(model: string, version: string, ...more: string[]): Promise<string> {
  const bundle = join(await temporaryFolder(), 'bundle.tar');
  const args = ['publish', await folderOf(model + version), '--version', version, '-m', model, '--offline', bundle];
  const run = await install(NO_NETWORK, started().key, ...args, ...more);
  expect(run).toMatchObject({ code: 0, stderr: '' });
  expect(run.stdout).toContain(`holds ${model} ${version}; import it before 20`);
  return bundle;
}

const bringIn = (bundle: string, key = started().key, dsn = started().program.url) =>
  install(dsn, key, 'import', bundle);
const eventsOf = async (model: string) => (await wholeHistory(started().program, model)).map(({ type }) => type);

describe('a bundle', () => {
  it('is published and activated once, however often it is imported', async () => {
    const { program, key } = started();
    const bundle = await pack(
      'fraud',
      '1.0.0',
      '--activate',
      'production',
      '--reason',
      'tried on site',
      '--notes',
      'n',
    );
    const dry = await install(NO_NETWORK, key, 'import', bundle, '--dry-run');
    expect(dry).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('fraud 1.0.0 and activates it in production'),
    });

    const run = await bringIn(bundle);
    expect(run).toMatchObject({ code: 0, stderr: '' });
    expect(run.stdout).toMatch(/^fraud 1\.0\.0 is published .*\nproduction went from none to 1\.0\.0 /);
    const active = await ok(program, 'GET', '/api/models/fraud/versions/active');
    expect(active).toMatchObject({ version: '1.0.0', notes: 'n', published_by: 'key:installer' });
    expect(active.activated).toMatchObject({ by: 'key:installer', reason: 'tried on site' });
    const file = join(program.volume, 'models/fraud/active/production/model.bin');
    expect((await readFile(file)).equals(LARGE)).toBe(true);

    await ok(program, 'POST', '/api/models/fraud/deactivate', { reason: 'not on this site' });
    const before = await eventsOf('fraud');
    expect(await bringIn(bundle)).toMatchObject({ code: 0 });
    expect(await eventsOf('fraud')).toEqual(before);
  });

  it('reports that its version is already active', async () => {
    const folder = await folderOf('same');
    const bundles = await Promise.all(
      ['a', 'b'].map(async (name) => {
        const bundle = join(await temporaryFolder(), `${name}.tar`);
        const args = ['publish', folder, '--version', '1.0.0', '-m', 'same', '--activate', 'dev', '--offline', bundle];
        expect(await install(NO_NETWORK, started().key, ...args)).toMatchObject({ code: 0 });
        return bundle;
      }),
    );
    expect(await bringIn(bundles[0]!)).toMatchObject({ code: 0 });
    const second = await bringIn(bundles[1]!);
    expect(second).toMatchObject({ code: 0, stdout: expect.stringContaining('1.0.0 is already active in dev.') });
    expect(await eventsOf('same')).toEqual(['version.published', 'version.activated']);
  });

  it('is refused with another key, a key without the permission and a revoked key', async () => {
    const { program } = started();
    const bundle = await pack('keys', '1.0.0');
    const other = await keyOf(program, 'publish');
    expect(await bringIn(bundle, other)).toMatchObject({ code: 3, stderr: expect.stringContaining('another key') });
    const reader = await keyOf(program, 'read');
    const readers = join(await temporaryFolder(), 'bundle.tar');
    const args = ['publish', await folderOf('x'), '--version', '1.0.0', '-m', 'keys', '--offline', readers];
    await install(NO_NETWORK, reader, ...args);
    expect(await bringIn(readers, reader)).toMatchObject({ code: 3, stderr: expect.stringContaining('publish') });
    await cli(program, 'key', 'revoke', other.split('_')[1]!);
    await install(NO_NETWORK, other, ...args.slice(0, -1), bundle);
    expect(await bringIn(bundle, other)).toMatchObject({ code: 1, stderr: expect.stringContaining('not valid') });
    expect((await program.ask('GET', '/api/models/keys')).status).toBe(404);
  }, 60_000);

  it('is refused if it has expired, was altered or is incomplete', async () => {
    const expired = await pack('damaged', '1.0.0', '--days', '0.00000001');
    expect(await bringIn(expired)).toMatchObject({ code: 3, stderr: expect.stringContaining('expired at') });
    const bundle = await pack('damaged', '1.0.0');
    const whole = await readFile(bundle);
    await writeFile(bundle, whole.subarray(0, -512));
    expect(await bringIn(bundle)).toMatchObject({ code: 3 });
    whole[whole.length - 2048]! ^= 1;
    await writeFile(bundle, whole);
    expect(await bringIn(bundle)).toMatchObject({ code: 3, stdout: '' });
    expect((await started().program.ask('GET', '/api/models/damaged')).status).toBe(404);
  });

  it('is refused by the registry if it changes after its verification', async () => {
    const bundle = await pack('changing', '1.0.0');
    const altered = join(await temporaryFolder(), 'altered.tar');
    await copyFile(bundle, altered);
    const dsn = await proxyTo(started().program.url, async () => {
      const file = await open(altered, 'r+');
      await file.write('other', 64 * 1024);
      await file.close();
    });
    const run = await bringIn(altered, started().key, dsn);
    expect(run).toMatchObject({ code: 1, stderr: expect.stringContaining('The bytes are sha256:') });
    expect((await started().program.ask('GET', '/api/models/changing')).status).toBe(404);
    expect(await bringIn(bundle)).toMatchObject({ code: 0 });
  });

  it('is packed and imported only with a valid combination of options', async () => {
    const { key, program } = started();
    const folder = await folderOf('x');
    const bundle = join(await temporaryFolder(), 'bundle.tar');
    const offline = ['publish', folder, '--offline', bundle];
    for (const [args, variables] of [
      [[...offline, '--version', '1.0.0'], { REGISTRY_SIGNING_KEY: '' }],
      [[...offline, '--version', '1'], {}],
      [[...offline, '--bump', 'minor'], {}],
      [offline, {}],
      [[...offline, '--version', '1.0.0', '--reason', 'x'], {}],
      [[...offline, '--version', '1.0.0', '--days', '31'], {}],
      [['publish', folder, '--version', '1.0.0', '--activate', 'dev'], {}],
      [['import', bundle], { REGISTRY_SIGNING_KEY: '' }],
    ] as const) {
      const run = await cliWith({ REGISTRY_DSN: program.url, REGISTRY_SIGNING_KEY: key, ...variables }, ...args);
      expect([args, run.code]).toEqual([args, 2]);
    }
    expect(await bringIn(bundle)).toMatchObject({ code: 1, stderr: expect.stringContaining('ENOENT') });
    expect(await bringIn(folder)).toMatchObject({ code: 1 });
  }, 60_000);
});

describe('the examples of docs/offline.md', () => {
  it('work as they are written', async () => {
    const program = await emptyProgram(onTestFinished);
    const whole = await readFile(join(import.meta.dirname, '../../docs/offline.md'), 'utf8');
    // This section installs from a package registry.
    const [page] = whole.split('## The command line without a network') as [string, string];
    const examples = (language: string) =>
      [...page.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, 'gm'))].map(([, text]) => text!);
    const folder = await temporaryFolder();
    await mkdir(join(folder, 'out'));
    await writeFile(join(folder, 'out/model.bin'), 'model');
    await writeFile(join(folder, 'signalbox'), `#!/bin/sh\nexec "${process.execPath}" "${MAIN}" "$@"\n`, {
      mode: 0o755,
    });
    await writeFile(join(folder, 'call.py'), examples('python').join(''));
    const script = ['set -e', ...examples('sh'), 'python3 call.py'].join('\n');
    const env = {
      ...process.env,
      PATH: `${folder}:${process.env.PATH}`,
      REGISTRY_DSN: program.url,
      REGISTRY_VOLUME: program.volume,
    };
    const { stdout } = await promisify(execFile)('sh', ['-c', script], { cwd: folder, env });
    expect(stdout.split('\n')).toEqual([
      expect.stringContaining('bundle.tar holds fraud 1.2.0'),
      expect.stringContaining('The bundle is complete.'),
      'fraud 1.2.0 is published (revision 1).',
      'production went from none to 1.2.0 (revision 2).',
      '1.2.0',
      '',
    ]);
    const { events } = await ok(program, 'GET', '/api/models/fraud/history');
    expect(events[0]).toMatchObject({ actor: 'key:installer', data: { environment: 'staging' } });
  }, 60_000);
});

/** A proxy that forwards every request unchanged, and calls `first` before the first one. */
async function proxyTo(url: string, first: () => Promise<void>): Promise<string> {
  let called: Promise<void> | null = null;
  const proxy = createServer(async (incoming, outgoing) => {
    called ??= first();
    await called;
    const { method, url: path, headers } = incoming;
    const forwarded = request(url + path, { method, headers }, (answer) => {
      outgoing.writeHead(answer.statusCode!, answer.headers);
      answer.pipe(outgoing);
    });
    incoming.pipe(forwarded);
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  onTestFinished(() => {
    proxy.closeAllConnections();
    proxy.close();
  });
  return `http://127.0.0.1:${(proxy.address() as { port: number }).port}`;
}
