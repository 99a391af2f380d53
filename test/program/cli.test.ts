import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFile, realpath, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it, onTestFinished } from 'vitest';
import { readSecret } from '../../src/access/secret.ts';
import { signToken } from '../../src/access/tokens.ts';
import { temporaryFolder } from '../support/folder.ts';
import { startNats } from '../support/nats.ts';
import { cli, cliWith, MAIN, startProgram } from '../support/program.ts';
import { emptyProgram, ok, publish, SAMPLES, send, shared, until, versionForm, volumeFolder } from './support.ts';

const program = shared(async (ends) => {
  const program = await emptyProgram(ends);
  for (const version of ['1.0.0', '1.1.0', '1.2.0']) await publish(program, version);
  await ok(program, 'POST', '/api/models/default/versions/1.2.0/archive');
  return program;
});
const run = (...args: string[]) => cli(program(), ...args);

const COMMANDS = [
  'init',
  'doctor',
  'serve',
  'publish',
  'import',
  'activate',
  'rollback',
  'deactivate',
  'notes',
  'archive',
  'unarchive',
  'lay',
  'list',
  'show',
  'diff',
  'latest',
  'history',
  'replay',
  'loaders',
  'runtime',
  'export',
  'restore',
  'checkpoint',
  'token',
];

/** Returns the commands that the help of the program, or of a command group, lists. */
async function commandsOf(...group: string[]): Promise<string[]> {
  const { stdout } = await run(...group, '--help');
  const [, listed = ''] = stdout.split(/^Commands:$/m);
  return [...listed.split(/^\S/m)[0]!.matchAll(/^ {2}([a-z]+)/gm)].map(([, command]) => command!);
}

describe('help', () => {
  it('lists the commands and the exit codes', async () => {
    const { code, stdout } = await run('--help');
    expect(code).toBe(0);
    for (const command of COMMANDS) expect(stdout).toMatch(new RegExp(`^  ${command}\\b`, 'm'));
    expect(stdout).toContain('Exit codes: 0 done');
  });

  it('prints its version', async () => {
    expect(await run('--version')).toMatchObject({ code: 0, stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) });
  });

  it('exits with 2 for an unknown option of any command, a surplus argument and a missing argument', {
    timeout: 120_000,
  }, async () => {
    const groups = ['key', 'checkpoint'];
    const inGroups = await Promise.all(
      groups.map(async (group) =>
        (await commandsOf(group)).filter((command) => command !== 'help').map((command) => [group, command]),
      ),
    );
    const commands = [...(await commandsOf()).map((command) => [command]), ...inGroups.flat()];
    expect(commands.length).toBeGreaterThan(25);
    const wrong = [
      ...commands.map((command) => [...command, '--no-such-option']),
      ['no-such-command'],
      ['list', 'all'],
      ['activate'],
      ['activate', '1.0.0'],
      ['rollback', '--env', 'production'],
      ['checkpoint', 'save', 'folder'],
      ['checkpoint', 'check', 'folder'],
      ['key', 'create'],
    ];
    // A few at a time: each one is a process.
    while (wrong.length > 0) {
      const some = wrong.splice(0, 4);
      const ended = await Promise.all(some.map((args) => run(...args)));
      expect(ended.map(({ code }, i) => [...some[i]!, code])).toEqual(some.map((args) => [...args, 2]));
    }
  });

  it.each(COMMANDS)('of %s has an example', async (command) => {
    const { code, stdout } = await run(command, '--help');
    expect([code, stdout]).toEqual([0, expect.stringMatching(/Examples?:\n[\s\S]*signalbox/)]);
  });
});

describe('exit codes', () => {
  it.each([
    [2, ['nonsense']],
    [2, []],
    [2, ['activate']],
    [2, ['activate', '1.0.0']], // no environment is assumed
    [2, ['list', '--nonsense']],
    [2, ['list', '-n', 'many']],
    [2, ['history', '-n', '0']],
    [2, ['history', '--type', 'nonsense']],
    [2, ['show']],
    [2, ['show', '1.0.0', '--env', 'dev']],
    [2, ['publish', SAMPLES]],
    [2, ['publish', SAMPLES, '--version', '1.0.0', '--bump', 'minor']],
    [2, ['rollback', '--env', 'dev']],
    [2, ['runtime', '--env', 'dev', 'joblib']],
    [2, ['runtime', '--env', 'dev', '--clear', 'joblib==1.4.2']],
    [2, ['runtime', '--env', 'dev', '--python', '3.11.7', 'python==3.12.0']],
    [4, ['runtime', '--env', 'moon']],
    [4, ['runtime', '--env', 'dev', '-m', 'nothing']],
    [2, ['token', '--hours', '-1']],
    [2, ['token', '--sub', 'key:installer']],
    [2, ['key', 'create', 'a', '--allow', 'read', '--days', '1000000000']],
    [1, ['publish', '/nowhere', '--version', '9.0.0']],
    [1, ['activate', 'v1', '--env', 'dev']],
    [3, ['activate', '1.2.0', '--env', 'dev']],
    [3, ['rollback', '--env', 'dev', '--reason', 'r']],
    [4, ['activate', '9.9.9', '--env', 'dev']],
    [4, ['activate', '1.0.0', '--env', 'moon']],
    [4, ['show', '9.9.9']],
    [4, ['show', '--env', 'staging']],
    [4, ['list', '-m', 'nothing']],
    [0, ['list']],
  ] as const)('%d for %j', async (code, args) => {
    const { code: actual, stderr } = await run(...args);
    expect([actual, stderr]).toEqual([code, code === 0 ? '' : expect.stringMatching(/\S{3}/)]);
    expect(stderr).not.toMatch(/^\s+at /m); // a sentence, not a stack
  });

  it('5 with a remedy if nothing listens at the address', async () => {
    const env = { REGISTRY_DSN: 'http://127.0.0.1:9', REGISTRY_VOLUME: program().volume };
    for (const args of [['list'], ['publish', join(SAMPLES, '1.0.0'), '--version', '1.0.0']]) {
      const { code, stderr } = await cliWith(env, ...args);
      expect(code).toBe(5);
      expect(stderr).toContain('no answer from http://127.0.0.1:9');
      expect(stderr).toContain('signalbox serve');
      expect(stderr).toContain('REGISTRY_DSN');
    }
  });

  it('5 if the server is not a registry', async () => {
    const url = await serverThat((_request, response) => response.end('<html>hello'));
    const { code, stderr } = await cliWith({ REGISTRY_DSN: url, REGISTRY_VOLUME: program().volume }, 'list');
    expect([code, stderr]).toEqual([5, expect.stringContaining('not as a registry does')]);
  });

  it('5 while NATS is unavailable', async () => {
    const nats = await startNats(process.env.NATS_SERVER_BIN!);
    const program = await startProgram(await volumeFolder(), { NATS_URL: nats.url, REGISTRY_DISCOVERY: 'off' });
    await publish(program, '1.0.0');
    await nats.kill();
    await until(async () => (await fetch(`${program.url}/readyz?for=writes`)).status === 503);
    const { code, stderr } = await cli(program, 'activate', '1.0.0', '--env', 'dev');
    expect([code, stderr]).toEqual([5, expect.stringContaining('recovers when NATS')]);
  });

  it('1 for a missing or invalid token, 3 for a missing permission, with the reason', async () => {
    const env = { REGISTRY_DSN: program().url, REGISTRY_VOLUME: program().volume };
    const sample = ['publish', join(SAMPLES, '1.0.0'), '--version', '9.0.0'];
    for (const args of [['list'], sample]) {
      const bad = await cliWith({ ...env, REGISTRY_TOKEN: 'x.y.z' }, ...args);
      expect([bad.code, bad.stderr]).toEqual([1, expect.stringContaining('The token is not valid')]);
      expect(bad.stderr).toContain('The token came from REGISTRY_TOKEN. Replace it');
      expect(bad.stderr).not.toContain('Set REGISTRY_TOKEN');
    }
    const user = await cliWith({ ...env, REGISTRY_TOKEN: await program().token('user') }, ...sample);
    expect([user.code, user.stderr]).toEqual([3, expect.stringContaining('permission publish')]);
    const none = await cliWith({ ...env, REGISTRY_VOLUME: await temporaryFolder() }, 'list');
    expect([none.code, none.stderr]).toEqual([1, expect.stringContaining('Set REGISTRY_TOKEN or')]);
  });

  it('1 for a refused credential, and names its origin', async () => {
    const env = { REGISTRY_DSN: program().url, REGISTRY_VOLUME: await temporaryFolder() };
    const other = await cliWith({ ...env, REGISTRY_JWT_SECRET: 'x'.repeat(32) }, 'list');
    expect([other.code, other.stderr]).toEqual([1, expect.stringContaining('signed with REGISTRY_JWT_SECRET.')]);
    const expired = await signToken(
      (await readSecret(program().volume))!,
      { actor: 'a', role: 'user' },
      -60,
      new Date(),
    );
    const late = await cliWith({ ...env, REGISTRY_TOKEN: expired }, 'list');
    expect([late.code, late.stderr]).toEqual([
      1,
      expect.stringMatching(/The token has expired\.\nThe token came from REGISTRY_TOKEN/),
    ]);
    const key = await cliWith({ ...env, REGISTRY_SIGNING_KEY: `sbs_0123456789ab_${'A'.repeat(43)}` }, 'list');
    expect([key.code, key.stderr]).toEqual([1, expect.stringContaining('signed with REGISTRY_SIGNING_KEY.')]);
    // From a .env in the working folder.
    const folder = await temporaryFolder();
    await writeFile(join(folder, '.env'), `REGISTRY_TOKEN=x.y.z\nREGISTRY_DSN=${program().url}\n`);
    const fromFile = await promisify(execFile)(process.execPath, [MAIN, 'list'], { cwd: folder }).catch(
      (error) => error,
    );
    expect(fromFile.stderr).toContain(
      `The token came from REGISTRY_TOKEN (from ${join(await realpath(folder), '.env')})`,
    );
  });

  it('3 for a large upload that the registry refuses before it is complete', async () => {
    const folder = await temporaryFolder();
    await writeFile(join(folder, 'large.bin'), randomBytes(32 * 1024 * 1024));
    const env = { REGISTRY_DSN: program().url, REGISTRY_VOLUME: program().volume };
    const user = { ...env, REGISTRY_TOKEN: await program().token('user') };
    const { code, stderr } = await cliWith(user, 'publish', folder, '--version', '9.0.0');
    expect([code, stderr]).toEqual([3, expect.stringContaining('permission publish')]);
  });

  it('1 for an invalid variable', async () => {
    const { code, stderr } = await cliWith({ REGISTRY_DSN: 'not a url' }, 'list');
    expect([code, stderr]).toEqual([1, expect.stringContaining('REGISTRY_DSN')]);
  });

  it('1 for a second registry on the same volume', async () => {
    const { code, stderr } = await cliWith({ REGISTRY_VOLUME: program().volume, PORT: '0' }, 'serve');
    expect([code, stderr]).toEqual([1, expect.stringContaining('Another Signalbox is running on')]);
  });
});

it('prints the registry’s response with --json', async () => {
  const json = async (...args: string[]) => JSON.parse((await run(...args, '--json')).stdout);
  const base = '/api/models/default';
  expect(await json('list')).toEqual({ versions: (await ok(program(), 'GET', `${base}/versions`)).versions });
  expect(await json('list', '--models')).toEqual({ models: (await ok(program(), 'GET', '/api/models')).models });
  expect(await json('show', '1.0.0')).toEqual(await ok(program(), 'GET', `${base}/versions/1.0.0`));
  expect(await json('latest')).toEqual(await ok(program(), 'GET', `${base}/versions/latest`));
  expect(await json('history')).toEqual({ events: (await ok(program(), 'GET', `${base}/history`)).events });
  expect(await json('notes', '1.0.0', 'n')).toMatchObject({ version: '1.0.0', notes: 'n' });
  expect(await json('runtime', '--env', 'staging', '--python', '3.11.7')).toMatchObject({ environment: 'staging' });
});

it('lists at most as many entries as --limit', async () => {
  expect(JSON.parse((await run('list', '-n', '2', '--json')).stdout).versions).toHaveLength(2);
  expect((await run('list', '-n', '1')).stdout.trim().split('\n')).toHaveLength(2);
});

it('searches, counts, and shows the place of a mistake in a filter', async () => {
  const program = await emptyProgram(onTestFinished);
  for (const version of ['1.0.0', '1.1.0', '1.2.0']) await publish(program, version);
  await ok(program, 'POST', '/api/models/default/versions/1.2.0/archive');
  const run = (...args: string[]) => cli(program, ...args);
  const where = ['--where', "version > '1.0.0' and status = 'ready'"];
  expect((await run('list', ...where, '--json')).stdout).toContain('"version": "1.1.0"');
  expect((await run('list', '--order-by', 'version desc', '-n', '1')).stdout).toMatch(/^VERSION.*\n1\.2\.0 /);
  expect((await run('list', ...where, '--count')).stdout).toBe('1\n');
  const models = ['list', '--models', '--where', 'versions = 3'];
  expect(JSON.parse((await run(...models, '--count', '--json')).stdout)).toEqual({ count: 1 });
  const { code, stderr } = await run('list', '--where', 'metrics.auc > high');
  expect([code, stderr]).toEqual([1, 'signalbox: where, column 15: expected a number, found high.\n']);
  const events = await run('history', '--all-models', '-n', '1');
  expect(events.stdout).toMatch(/^MODEL +REVISION .*\ndefault +4 /);
});

it('prints no control characters from notes or arguments', async () => {
  const notes = '\u001b[2Jgone\u0007\nsecond line\u009b31m\u202etxt.exe\u2066\u200b\u2028';
  await ok(program(), 'PATCH', '/api/models/default/versions/1.1.0/notes', { notes });
  for (const args of [['notes', '1.1.0'], ['show', '1.1.0'], ['list'], ['list', '--json']]) {
    const { stdout } = await run(...args);
    expect(stdout).toContain('second line');
    expect(stdout).not.toMatch(/(?!\n)[\p{Cc}\p{Cf}\p{Zl}]/u);
  }
  expect(JSON.parse((await run('show', '1.1.0', '--json')).stdout).notes).toBe(notes);
  const refused = await run('show', '--env', 'dev\u202e');
  expect([refused.code, refused.stderr]).toEqual([1, expect.not.stringMatching(/\u202e/)]);
  expect((await run('notes', '1.1.0')).stdout).toMatch(/gone\nsecond line/);
});

it('prints a token that the registry accepts', async () => {
  const ask = async (...args: string[]) => {
    const { stdout } = await run('token', ...args);
    const headers = { Authorization: `Bearer ${stdout.trim()}` };
    return fetch(`${program().url}/models`, { headers });
  };
  expect((await ask()).status).toBe(200);
  expect((await ask('--role', 'user')).status).toBe(403);
});

describe('publish', () => {
  it('is safe to repeat, with a version and with a bump', async () => {
    const folder = await temporaryFolder();
    await writeFile(join(folder, 'metadata.json'), '{"python":"3.11.7","metrics":{"auc":0.9}}');
    await writeFile(join(folder, 'model.bin'), 'one');
    const publish = (...args: string[]) => run('publish', folder, '-m', 'again', ...args);
    const first = await publish('--version', '1.0.0');
    expect(first).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^again 1\.0\.0 is published \(revision \d+\)\.\n$/),
    });
    expect(await publish('--version', '1.0.0')).toEqual(first);

    await writeFile(join(folder, 'model.bin'), 'two');
    const refused = await publish('--version', '1.0.0');
    expect([refused.code, refused.stderr]).toEqual([3, expect.stringContaining('published with other content')]);
    const bumped = await publish('--bump', 'minor', '--notes', 'better');
    expect(bumped.stdout).toContain('again 1.1.0 is published');
    expect(await publish('--bump', 'minor', '--notes', 'better')).toEqual(bumped);
    const { versions } = await ok(program(), 'GET', '/api/models/again/versions');
    expect(versions.map(({ version }: { version: string }) => version)).toEqual(['1.1.0', '1.0.0']);
    expect(versions[0]).toMatchObject({ notes: 'better', manifest: { metrics: { auc: 0.9 } } });
    expect(await readFile(join(program().volume, 'models/again/latest/model.bin'), 'utf8')).toBe('two');
  });

  it('warns of a pickled model without a stated runtime', async () => {
    const folder = await temporaryFolder();
    await writeFile(join(folder, 'model.joblib'), 'bare');
    const bare = await run('publish', folder, '--version', '1.0.0', '-m', 'bare', '--json');
    expect([bare.code, bare.stderr]).toEqual([
      0,
      expect.stringMatching(/^Warning: .* model\.joblib needs, .*metadata\.json/),
    ]);
    expect(JSON.parse(bare.stdout)).toMatchObject({ manifest: { requires: {} } });
    // The file that the warning suggests.
    await writeFile(join(folder, 'metadata.json'), /such as (.*), or/.exec(bare.stderr)![1]!);
    const stated = await run('publish', folder, '--version', '1.1.0', '-m', 'bare', '--json');
    expect([stated.code, stated.stderr]).toEqual([0, '']);
    const requires = { python: '~=3.11.0', packages: { 'scikit-learn': '~=1.5.0' } };
    expect(JSON.parse(stated.stdout)).toMatchObject({ manifest: { requires } });
  });

  it('sends nothing for an invalid version or model name', async () => {
    const requests: string[] = [];
    const url = await serverThat((request, response) => {
      requests.push(request.url!);
      response.end('{}');
    });
    const env = { REGISTRY_DSN: url, REGISTRY_VOLUME: program().volume };
    for (const args of [
      ['--version', 'v1'],
      ['--version', '1.0.0', '-m', 'A/b'],
    ]) {
      const { code, stderr } = await cliWith(env, 'publish', join(SAMPLES, '1.0.0'), ...args);
      expect([code, stderr]).toEqual([
        1,
        expect.stringMatching(/^signalbox: The (version must be a canonical|model must match) .*\.\n$/),
      ]);
    }
    expect(requests).toEqual([]);
  });

  it('reports what is wrong with a folder', async () => {
    const folder = await temporaryFolder();
    const nowhere = await run('publish', join(folder, 'absent'), '--version', '1.0.0');
    expect([nowhere.code, nowhere.stderr]).toEqual([
      1,
      expect.stringContaining(`There is no folder ${join(folder, 'absent')}.`),
    ]);
    const file = await run('publish', join(SAMPLES, '1.0.0/model.joblib'), '--version', '1.0.0');
    expect([file.code, file.stderr]).toEqual([1, expect.stringContaining('model.joblib is not a folder')]);
    const empty = await run('publish', folder, '--version', '1.0.0');
    expect([empty.code, empty.stderr]).toEqual([1, expect.stringContaining('contains no files')]);
    await writeFile(join(folder, 'metadata.json'), '{');
    const broken = await run('publish', folder, '--version', '1.0.0');
    expect([broken.code, broken.stderr]).toEqual([1, expect.stringContaining('metadata.json is not JSON')]);
    await rm(join(folder, 'metadata.json'));
    await writeFile(join(folder, 'model.bin'), 'x');
    const name = await run('publish', folder, '--version', 'v1');
    expect([name.code, name.stderr]).toEqual([1, expect.stringContaining('canonical semantic version')]);
  });
});

describe('runtime', () => {
  const path = '/api/models/default/environments/dev/runtime';
  const runtime = (...args: string[]) => run('runtime', '--env', 'dev', ...args);

  it('prints the declared runtime, and changes it only with versions or --clear', async () => {
    expect(await runtime()).toMatchObject({ code: 0, stdout: 'No runtime is declared for dev.\n' });
    const declared = { python: '3.11.7', node: '24.1.0', packages: { joblib: '1.4.2' }, npm: { '@x/y': '1.0.0' } };
    const { revision } = await ok(program(), 'PUT', path, declared);
    const printed = 'python 3.11.7\nnode 24.1.0\njoblib 1.4.2\nnpm:@x/y 1.0.0\n';
    expect(await runtime()).toMatchObject({ code: 0, stdout: printed });
    expect(JSON.parse((await runtime('--json')).stdout)).toEqual({ environment: 'dev', runtime: declared, revision });

    expect(await runtime('--clear')).toMatchObject({ code: 0, stdout: 'Cleared the runtime of dev.\n' });
    expect(await runtime()).toMatchObject({ code: 0, stdout: 'No runtime is declared for dev.\n' });
  });

  it('accepts python and node as interpreters, and npm:… as an npm package', async () => {
    const { code, stdout } = await runtime('python=3.11.7', 'node==24.1.0', 'joblib==1.4.2', 'npm:@x/y==1.0.0');
    expect([code, stdout]).toEqual([0, 'Declared the runtime of dev.\n']);
    expect(await ok(program(), 'GET', path)).toMatchObject({
      runtime: { python: '3.11.7', node: '24.1.0', packages: { joblib: '1.4.2' }, npm: { '@x/y': '1.0.0' } },
    });
  });
});

describe('show', () => {
  it('prints every requirement, and no line without requirements', async () => {
    const requires = { node: '^24.0.0', packages: { joblib: '~=1.4.0' }, npm: { 'onnxruntime-node': '^1.20.0' } };
    const form = versionForm({ version: '7.0.0', requires }, { 'a.txt': '7' });
    expect((await send(program(), 'POST', '/api/models/shown/versions', form)).status).toBe(201);
    const shown = await run('show', '7.0.0', '-m', 'shown');
    expect(shown.stdout).toContain('requires:     node ^24.0.0, joblib ~=1.4.0, npm:onnxruntime-node ^1.20.0\n');
    expect((await run('show', '1.0.0')).stdout).not.toMatch(/requires:|undefined/);
  });
});

describe('diff', () => {
  const model = ['--model', 'scored'];
  const tableOf = (stdout: string) =>
    stdout
      .trimEnd()
      .split('\n')
      .map((line) => line.split(/ {2,}/));

  it('prints what differs, with --all everything, with --json the comparison', async () => {
    for (const [version, auc] of [
      ['1.0.0', 0.9],
      ['1.1.0', 0.93],
    ] as const) {
      const form = versionForm({ version, metrics: { auc }, tags: { team: 'risk' } }, { 'a.txt': version });
      expect((await send(program(), 'POST', '/api/models/scored/versions', form)).status).toBe(201);
    }
    const { code, stdout } = await run('diff', '1.0.0', '1.1.0', ...model);
    expect(code).toBe(0);
    const rows = tableOf(stdout);
    expect(rows.map(([field]) => field)).toEqual([
      'FIELD',
      'published_at',
      'revision',
      'manifest_digest',
      'metrics.auc',
      'files.a.txt',
    ]);
    expect(rows[0]).toEqual(['FIELD', '1.0.0', '1.1.0']);
    expect(rows).toContainEqual(['metrics.auc', '0.9', '0.93 (+0.03)']);
    expect(rows.at(-1)![1]).toMatch(/^[0-9a-f]{12} \(5 bytes\)$/);
    const all = await run('diff', '1.0.0', '1.1.0', '--all', ...model);
    expect(tableOf(all.stdout)).toContainEqual(['tags.team', 'risk', 'risk']);
    const { fields } = JSON.parse((await run('diff', '1.0.0', '1.1.0', '--json', ...model)).stdout);
    expect(fields).toHaveLength(rows.length - 1);
  });

  it('says if the content is the same, and fails for unknown versions', async () => {
    for (const version of ['2.0.0', '2.1.0']) await publish(program(), version, { 'a.txt': 'same' }, 'scored');
    const { stdout } = await run('diff', '2.0.0', '2.1.0', ...model);
    expect(stdout).toContain('The content of these versions is the same.');
    expect((await run('diff', '2.0.0', '9.9.9', ...model)).code).toBe(4);
    expect((await run('diff', '2.0.0', '2.0.0', ...model)).code).not.toBe(0);
    expect((await run('diff', '2.0.0', ...model)).code).toBe(2);
  });
});

describe('activate', () => {
  it('exits with 0 if the version is already active', async () => {
    const activate = () => run('activate', '1.0.0', '--env', 'production', '--reason', 'r');
    expect((await activate()).stdout).toMatch(/^production went from none to 1\.0\.0/);
    expect(await activate()).toMatchObject({ code: 0, stdout: '1.0.0 is already active in production.\n' });
  });

  it('changes nothing with --dry-run, and refuses another active version than --expect', async () => {
    const rehearsed = await run('activate', '1.1.0', '--env', 'dev', '--expect', 'none', '--dry-run');
    expect(rehearsed).toMatchObject({ code: 0, stdout: 'dev would go from none to 1.1.0.\n' });
    expect((await run('activate', '1.1.0', '--env', 'dev', '--expect', '1.0.0')).code).toBe(3);
  });

  it('names every rule that a dry run fails', async () => {
    await publish(program(), '1.0.0', { 'a.txt': 'x' }, 'twice-refused');
    expect((await run('archive', '1.0.0', '-m', 'twice-refused')).code).toBe(0);
    const args = ['activate', '1.0.0', '-m', 'twice-refused', '--env', 'dev', '--expect', '0.9.0'];
    const { code, stderr } = await run(...args, '--dry-run');
    expect([code, stderr]).toEqual([
      3,
      expect.stringMatching(/^signalbox: No version is active in dev, not 0\.9\.0\./),
    ]);
    expect(stderr).toContain('\nAlso: 1.0.0 is archived; unarchive it first.\n');
    expect((await run(...args)).stderr).not.toContain('Also:');
  });
});

describe('rollback', () => {
  it('sends the version it showed, so that it does not undo a later move unseen', async () => {
    const base = '/api/models/raced';
    for (const version of ['1.0.0', '2.0.0', '3.0.0']) await publish(program(), version, { 'a.txt': version }, 'raced');
    for (const version of ['1.0.0', '2.0.0']) await ok(program(), 'POST', `${base}/versions/${version}/activate`);

    const bodies: { dry_run?: boolean; expected_active?: string }[] = [];
    const url = await serverThat(async (request, response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk);
      bodies.push(JSON.parse(Buffer.concat(chunks).toString()));
      const answer = await program().ask('POST', request.url!, bodies.at(-1));
      const text = await answer.text();
      // Another caller moves the environment after the plan was shown.
      if (bodies.length === 1) await ok(program(), 'POST', `${base}/versions/3.0.0/activate`);
      response.writeHead(answer.status, Object.fromEntries(answer.headers)).end(text);
    });
    const env = { REGISTRY_DSN: url, REGISTRY_VOLUME: program().volume };
    const args = ['rollback', '-m', 'raced', '--env', 'production', '--reason', 'bad'];
    const raced = await cliWith(env, ...args);
    expect(bodies).toMatchObject([{ dry_run: true }, { expected_active: '2.0.0' }]);
    expect(raced.stderr).toContain('This takes production from 2.0.0 back to 1.0.0.');
    expect([raced.code, raced.stderr]).toEqual([3, expect.stringContaining('3.0.0 is active in production')]);
    const again = await run(...args);
    expect(again).toMatchObject({ code: 0, stdout: expect.stringMatching(/^production went from 3\.0\.0 to 2\.0\.0/) });
    const back = await run(...args, '--to', '1.0.0', '--json');
    expect(JSON.parse(back.stdout)).toMatchObject({ active: { version: '1.0.0' }, previous: { version: '2.0.0' } });
  });

  it('changes nothing with --dry-run', async () => {
    await ok(program(), 'POST', '/api/models/default/versions/1.0.0/activate', { environment: 'staging' });
    await ok(program(), 'POST', '/api/models/default/versions/1.1.0/activate', { environment: 'staging' });
    const rehearsed = await run('rollback', '--env', 'staging', '--reason', 'r', '--dry-run');
    expect(rehearsed).toMatchObject({ code: 0, stdout: 'staging would go from 1.1.0 to 1.0.0.\n' });
    expect(await ok(program(), 'GET', '/api/models/default/versions/active?environment=staging')).toMatchObject({
      version: '1.1.0',
    });
  });
});

/** Starts a server with this handler, and returns its address. */
async function serverThat(answers: (request: IncomingMessage, response: ServerResponse) => unknown): Promise<string> {
  const server = createServer(answers).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as { port: number }).port}`;
}
