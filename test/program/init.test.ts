import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFile, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { exportJWK, generateKeyPair } from 'jose';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { Check } from '../../src/setup/check.ts';
import { serveText } from '../support/http.ts';
import { fakeServer, freePort, startNats, startPlainNats } from '../support/nats.ts';
import { MAIN, type Run } from '../support/program.ts';
import { emptyProgram, problemOf, volumeFolder } from './support.ts';

/** Runs a command in a folder whose `.env` is its only configuration, without a terminal. */
function runIn(cwd: string, ...args: string[]): Promise<Run> {
  return runWith({}, cwd, ...args);
}

function runWith(variables: Record<string, string>, cwd: string, ...args: string[]): Promise<Run> {
  const env = { ...process.env, ...variables };
  return new Promise((resolve) => {
    execFile(process.execPath, [MAIN, ...args], { cwd, env, timeout: 60_000 }, (error, stdout, stderr) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : error ? -1 : 0, stdout, stderr });
    });
  });
}

async function serveIn(cwd: string): Promise<{ url: string; child: ChildProcess }> {
  const child = spawn(process.execPath, [MAIN, 'serve'], { cwd, stdio: ['ignore', 'ignore', 'pipe'] });
  const ended = once(child, 'exit');
  onTestFinished(async () => {
    child.kill();
    await ended;
  });
  for await (const line of createInterface(child.stderr)) {
    const [, url] = /^Signalbox serves on (\S+)/.exec(line) ?? [];
    if (url) return { url, child };
  }
  throw new Error('it ended before it served');
}

const textVariables = (text: string) =>
  Object.fromEntries([...text.matchAll(/^([A-Z_]+)=(.*)$/gm)].map(([, name, is]) => [name, is]));
const variablesOf = async (path: string) => textVariables(await readFile(path, 'utf8'));

/** A folder for an installation on a free port. */
async function place() {
  const folder = await volumeFolder();
  const port = String(await freePort());
  return { folder, port, init: (...args: string[]) => runIn(folder, 'init', '--port', port, ...args) };
}

const document = (json: unknown) => serveText(JSON.stringify(json));

const PROVIDER = ['--issuer', 'https://login.example.org', '--audience', 'signalbox'];

describe('init', { timeout: 60_000 }, () => {
  it('reads NATS_URL from the environment, so that its password is not in the process list', async () => {
    const { folder, port } = await place();
    const { url } = await startNats(process.env.NATS_SERVER_BIN!);
    const { code, stderr } = await runWith({ NATS_URL: url }, folder, 'init', '--port', port);
    expect([code, (await variablesOf(join(folder, '.env'))).NATS_URL], stderr).toEqual([0, url]);
    // NATS_URL from the .env of the working folder is not used for another folder.
    const other = await volumeFolder();
    await runIn(folder, 'init', '--port', port, '--out', other, '--volume', join(other, 'registry'));
    expect(await variablesOf(join(other, '.env'))).not.toHaveProperty('NATS_URL');
  });

  it('writes the files for serve, the command line and a loader in an empty folder', async () => {
    const { folder, port, init } = await place();
    const { code, stdout, stderr } = await init('--model', 'fraud', '--env', 'staging');
    expect([code, stdout], stderr).toEqual([0, expect.stringContaining('Wrote')]);
    for (const name of ['.env', '.env.loader']) expect((await stat(join(folder, name))).mode & 0o777).toBe(0o600);

    const server = await variablesOf(join(folder, '.env'));
    const loader = await variablesOf(join(folder, '.env.loader'));
    expect(stdout + stderr).not.toContain(server.REGISTRY_JWT_SECRET);
    expect(stdout + stderr).not.toContain(loader.REGISTRY_TOKEN);
    const { url } = await serveIn(folder);
    expect(url).toBe(`http://127.0.0.1:${port}`);
    expect(loader).toMatchObject({ REGISTRY_DSN: url, REGISTRY_MODEL: 'fraud', REGISTRY_ENVIRONMENT: 'staging' });

    const version = join(folder, 'v');
    await mkdir(version);
    await writeFile(join(version, 'model.txt'), 'one');
    for (const model of ['fraud', 'churn']) {
      expect(await runIn(folder, 'publish', version, '--version', '1.0.0', '--model', model)).toMatchObject({
        code: 0,
      });
    }
    const ask = (method: string, path: string, body?: string) =>
      fetch(url + path, {
        method,
        headers: { Authorization: `Bearer ${loader.REGISTRY_TOKEN}`, 'Content-Type': 'application/json' },
        ...(body !== undefined && { body }),
      });
    expect((await ask('GET', '/api/models/fraud/versions/1.0.0')).status).toBe(200);
    expect(await (await ask('GET', '/api/identity')).json()).toMatchObject({
      actor: 'key:loader-fraud',
      permissions: ['read', 'report'],
    });
    await problemOf(await ask('GET', '/api/models/churn/versions/1.0.0'), 403, 'forbidden');
    await problemOf(await ask('POST', '/api/models/fraud/versions', '{}'), 403, 'forbidden');
    expect(await runIn(folder, 'doctor')).toMatchObject({ code: 0 });
  });

  it('uses an external NATS, and accepts a provider’s tokens in addition to its own', async () => {
    const { folder, init } = await place();
    const { url } = await startNats(process.env.NATS_SERVER_BIN!);
    const { publicKey } = await generateKeyPair('ES256', { extractable: true });
    const jwks = await document({ keys: [{ ...(await exportJWK(publicKey)), kid: 'a' }] });
    const { code, stdout } = await init('--nats-url', url, '--jwks-url', jwks, ...PROVIDER, '--json');
    expect([code, JSON.parse(stdout)]).toMatchObject([
      0,
      { installed: true, files: [join(folder, '.env'), expect.any(String)] },
    ]);
    const server = await variablesOf(join(folder, '.env'));
    expect(server).toMatchObject({ NATS_URL: url, REGISTRY_JWKS_URL: jwks, REGISTRY_JWT_AUDIENCE: 'signalbox' });
    expect(Buffer.byteLength(server.REGISTRY_JWT_SECRET!)).toBeGreaterThan(32);
    await serveIn(folder);
    expect(await runIn(folder, 'doctor')).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('✓ identity provider'),
    });
  });

  it('replaces existing files only with --force, and keeps settings that are not given again', async () => {
    const { folder, init } = await place();
    const path = join(folder, '.env');
    expect(await init('--public-url', 'https://models.example.org')).toMatchObject({ code: 0 });
    await appendFile(path, 'REGISTRY_ACTIVATION_LIMIT=7\n');
    const before = await readFile(path, 'utf8');
    const again = await init('--environments', 'live');
    expect([again.code, again.stdout]).toEqual([1, expect.stringContaining('✗ files')]);
    expect(await readFile(path, 'utf8')).toBe(before);
    expect(await init('--environments', 'live', '--force')).toMatchObject({ code: 0 });
    expect(await variablesOf(path)).toEqual({ ...textVariables(before), REGISTRY_ENVIRONMENTS: 'live' });
    expect(await init('--public-url', '', '--force')).toMatchObject({ code: 0 });
    expect(await readFile(path, 'utf8')).toContain('\n#REGISTRY_PUBLIC_URL=\n');
  });

  it('keeps the secret that a volume already has', async () => {
    const { folder, init } = await place();
    const secret = 'the volume’s own secret that signed tokens';
    await mkdir(join(folder, 'registry/.signalbox'), { recursive: true });
    await writeFile(join(folder, 'registry/.signalbox/secret'), `${secret}\n`);
    expect(await init()).toMatchObject({ code: 0 });
    expect(await readFile(join(folder, '.env'), 'utf8')).toContain(`REGISTRY_JWT_SECRET='${secret}'\n`);
  });
});

describe('init writes nothing', { timeout: 60_000 }, () => {
  const unused = async () => `127.0.0.1:${await freePort()}`;
  const refused: [what: string, check: string, args: (folder: string) => Promise<string[]>][] = [
    ['if NATS cannot be reached', 'nats', async () => ['--nats-url', `nats://${await unused()}`]],
    ['if NATS_URL is not a valid address', 'nats', async () => ['--nats-url', 'localhost:4222']],
    ['if NATS is too old', 'nats', async () => ['--nats-url', await fakeServer('2.10.22')]],
    [
      'if NATS has no JetStream',
      'jetstream',
      async () => ['--nats-url', (await startPlainNats(process.env.NATS_SERVER_BIN!)).url],
    ],
    [
      'if the volume is a file',
      'volume',
      async (folder) => {
        await writeFile(join(folder, 'file'), '');
        return ['--volume', 'file'];
      },
    ],
    [
      'if a parent of the volume is a file',
      'volume',
      async (folder) => {
        await writeFile(join(folder, 'file'), '');
        return ['--volume', 'file/registry'];
      },
    ],
    ['if the port is in use', 'address', async () => ['--port', new URL(await document({})).port]],
    ['if the address belongs to another machine', 'address', async () => ['--host', '192.0.2.1']],
    ['for port 0', 'address', async () => ['--port', '0']],
    [
      'if the provider cannot be reached',
      'identity provider',
      async () => ['--jwks-url', `http://${await unused()}/jwks`, ...PROVIDER],
    ],
    [
      'if the provider has no keys',
      'identity provider',
      async () => ['--jwks-url', await document({ keys: [] }), ...PROVIDER],
    ],
    [
      'if the provider does not answer with a key set',
      'identity provider',
      async () => ['--jwks-url', await document('hello'), ...PROVIDER],
    ],
    [
      'if the provider’s issuer is not given',
      'identity provider',
      async () => ['--jwks-url', await document({ keys: [] })],
    ],
    [
      'if a .env exists',
      'files',
      async (folder) => {
        await writeFile(join(folder, '.env'), '# mine\n');
        return [];
      },
    ],
    [
      'if a .env.loader exists',
      'files',
      async (folder) => {
        await writeFile(join(folder, '.env.loader'), '# mine\n');
        return [];
      },
    ],
  ];

  it.each(refused)('%s', async (_what, name, args) => {
    const { folder, init } = await place();
    const given = await args(folder);
    const before = await readdir(folder, { recursive: true });
    const { code, stdout } = await init(...given, '--json');
    const { checks, ...answer } = JSON.parse(stdout) as { checks: Check[] };
    expect([code, answer]).toEqual([1, { installed: false, files: [] }]);
    const wrong = checks.filter(({ status }) => status === 'wrong');
    expect(wrong).toEqual([{ name, status: 'wrong', detail: expect.any(String), remedy: expect.any(String) }]);
    expect(await readdir(folder, { recursive: true })).toEqual(before);
  });

  it('if a Signalbox runs on the volume', async () => {
    const { volume } = await emptyProgram(onTestFinished);
    const { folder, init } = await place();
    const { code, stdout } = await init('--volume', volume);
    expect([code, stdout]).toEqual([1, expect.stringMatching(/^✗ lock: A Signalbox runs on .*\n {4}Stop it/)]);
    expect(await readdir(folder)).toEqual([]);
  });

  it('if the volume was built from another log', async () => {
    const { folder, init } = await place();
    const signalbox = join(folder, 'registry/.signalbox');
    await mkdir(signalbox, { recursive: true });
    const position = { epoch: '0'.repeat(64), revision: 7, hash: '0'.repeat(64), generation: 0 };
    await writeFile(join(signalbox, 'position.json'), JSON.stringify(position));
    const { code, stdout } = await init();
    expect([code, stdout]).toEqual([
      1,
      expect.stringMatching(/✗ start: The log is not the one[\s\S]*Nothing was written/),
    ]);
    expect(await readdir(folder)).toEqual(['registry']);
  });

  it.each([
    ['--model', 'Not A Model'],
    ['--env', 'nowhere'],
    ['--public-url', 'models.example.org'],
    ['--port', 'http'],
    ['--environments', 'a,a'],
  ])('for %s %s', async (...args) => {
    const { folder, init } = await place();
    const { code, stderr } = await init(...args);
    expect([code, stderr]).not.toEqual([0, '']);
    expect(await readdir(folder)).toEqual([]);
  });
});

it('warns of a public URL without TLS, and of a missing one if other machines can connect', async () => {
  const { folder, init } = await place();
  const clear = await init('--public-url', 'http://models.example.org', '--json');
  const warned = (run: Run) => (JSON.parse(run.stdout).checks as Check[]).filter(({ status }) => status === 'warning');
  expect([clear.code, warned(clear)]).toMatchObject([0, [{ name: 'public URL' }]]);
  expect((await variablesOf(join(folder, '.env.loader'))).REGISTRY_DSN).toBe('http://models.example.org');
  const open = await init('--host', '0.0.0.0', '--force', '--json');
  expect([open.code, warned(open)]).toMatchObject([0, [{ name: 'public URL' }]]);
});

it('an invalid line of a .env stops every command with its line number', async () => {
  const { folder } = await place();
  await writeFile(join(folder, '.env'), 'REGISTRY_DSN=http://127.0.0.1:1\nnonsense\n');
  const { code, stderr } = await runIn(folder, 'list');
  expect([code, stderr]).toEqual([1, expect.stringMatching(/^signalbox: Line 2 of .*\.env does not have the form/)]);
  expect(await runIn(folder, '--version')).toMatchObject({ code: 0 });
});
