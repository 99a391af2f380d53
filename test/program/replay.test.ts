import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { subjectOf } from '../../src/log/stream.ts';
import { temporaryFolder } from '../support/folder.ts';
import { connected, startNats } from '../support/nats.ts';
import { cli, cliWith, startProgram } from '../support/program.ts';
import { emptyProgram, ok, publish, shared, volumeFolder } from './support.ts';

const MONTH = join(import.meta.dirname, '../../examples/audit/month.jsonl');
const ofMonth = (...args: string[]) => cliWith({}, 'replay', '--file', MONTH, ...args);
const json = async (run: Promise<{ stdout: string }>) => JSON.parse((await run).stdout);

const program = shared(async (ends) => {
  const program = await emptyProgram(ends);
  const moved = (path: string, body: object) => ok(program, 'POST', `/api/models/default/${path}`, body);
  for (const version of ['1.0.0', '1.1.0', '1.2.0']) await publish(program, version);
  await publish(program, '0.1.0', { 'a.txt': 'other' }, 'other');
  await moved('versions/1.0.0/activate', { environment: 'production', reason: 'first' });
  await moved('versions/1.1.0/activate', { environment: 'production', reason: '=HYPERLINK("http://evil")' });
  await moved('rollback', { environment: 'production', reason: 'bad \u001b[31mred\u001b[0m, "quoted"' });
  await moved('versions/1.2.0/archive', { reason: 'never' });
  await ok(program, 'PATCH', '/api/models/default/versions/1.1.0/notes', { notes: 'do not use' });
  return program;
});
const run = (...args: string[]) => cli(program(), 'replay', ...args);

describe('with a running registry', () => {
  it('reports what was active at a revision', async () => {
    const { code, stdout } = await run('--at', '6', '-m', 'default', '--env', 'production');
    expect(code).toBe(0);
    expect(stdout).toMatch(/^As of revision 6:\nMODEL .*\ndefault +1\.2\.0 +production +1\.1\.0 /);
    const { revision, models } = await json(run('--at', '999', '--json'));
    expect([revision, models.map(({ model }: { model: string }) => model)]).toEqual([9, ['default', 'other']]);
    expect(models[0]).toMatchObject({
      latest: '1.1.0',
      environments: {
        production: { version: '1.0.0', revision: 7, type: 'version.rolled_back' },
        staging: { version: null },
      },
    });
    expect(
      models[0].versions.map(({ version, status, notes }: Record<string, string>) => [version, status, notes]),
    ).toEqual([
      ['1.2.0', 'archived', ''],
      ['1.1.0', 'ready', 'do not use'],
      ['1.0.0', 'ready', ''],
    ]);
  });

  it('reports that there were no events up to a moment', async () => {
    expect(await run('--at', '2001-01-01')).toMatchObject({
      code: 0,
      stdout: 'There are no events up to this moment.\n',
    });
    expect(await run('--at', '2001-01-01', '-m', 'other', '--env', 'dev')).toMatchObject({ code: 0 });
  });

  it('verifies the log and the answers of the registry', async () => {
    const verified = 'Up to revision 9 every event follows from the ones before it. Events: 9. Models: 2.';
    expect(await run('--verify')).toMatchObject({ code: 0, stdout: `${verified}\n` });
    const against = await run('--verify', '--against', program().url);
    expect(against).toMatchObject({ code: 0, stdout: `${verified}\nThe answers of the registry follow from them.\n` });
    expect(await json(run('--verify', '--json'))).toMatchObject({ verified: true, revision: 9, findings: [] });
  });

  it('finds every answer of a registry on another log', async () => {
    const { code, stdout, stderr } = await ofMonth('--verify', '--against', program().url, '--json');
    expect(stderr).toContain('REGISTRY_TOKEN');
    expect([code, stdout]).toEqual([1, '']);
    const env = { REGISTRY_TOKEN: await program().token() };
    const other = await cliWith(env, 'replay', '--file', MONTH, '--verify', '--against', program().url, '--json');
    const { verified, findings, differences } = JSON.parse(other.stdout);
    expect([other.code, verified, findings]).toEqual([7, false, []]);
    const named = differences.map(({ model, what }: Record<string, string>) => `${model} ${what}`);
    expect(named).toContain('fraud the model');
    expect(named).toContain('default active in production');
    expect(named).toContain('default 1.0.0');
  });

  it('prints no control characters to a terminal and no formulas to CSV', async () => {
    const { stdout } = await run('--rollbacks');
    expect(stdout).toContain('bad  [31mred [0m, "quoted"');
    const csv = await run('--timeline', '--csv');
    const lines = csv.stdout.split('\r\n');
    expect(lines[0]).toMatch(/^model,environment,version,type,from,/);
    expect(csv.stdout).toContain(`"'=HYPERLINK(""http://evil"")"`);
    expect(lines).toHaveLength(1 + 3 + 1);
  });

  it('writes a page, in which foreign text is escaped', async () => {
    const page = join(await temporaryFolder(), 'page.html');
    const { code, stderr } = await run('--timeline', '--html', page);
    expect([code, stderr]).toEqual([0, `Wrote ${page}.\n`]);
    expect(await readFile(page, 'utf8')).toContain('bad  [31mred [0m, &#34;quoted&#34;');
  });
});

it('reads the log of a stopped registry', async () => {
  const volume = await volumeFolder();
  const stopped = await startProgram(volume, { REGISTRY_DISCOVERY: 'off' });
  await publish(stopped, '1.0.0');
  await stopped.stop();
  const report = await cliWith({ REGISTRY_VOLUME: volume }, 'replay', '--verify', '--json');
  expect(JSON.parse(report.stdout)).toMatchObject({ verified: true, events: 1 });
});

describe('a file', () => {
  it.each<[string[], RegExp]>([
    [
      ['--at', '2026-03-03 14:05', '-m', 'fraud', '-e', 'production'],
      /production +1\.1\.0 +2026-03-03T09:30:00\.000Z +ana +better AUC/,
    ],
    [['--rollbacks', '-m', 'churn'], /implicit: 2\n[\s\S]*nightly was too slow .* implicit\n/],
    [['--diff', '2026-03-01', '2026-04-01', '-e', 'staging', '-m', 'churn'], /active +staging +- +- +4 +cem +85/],
    [['--diff', '12', '12'], /^Nothing changed from revision 12 to 12\.\n$/],
    [['--timeline', '-e', 'staging', '-m', 'churn'], /^churn\nstaging {2}b+c+·+\n/],
    [['--verify', '-m', 'churn'], /Models: 1\./],
  ])('answers %j', async (args, expected) => {
    expect(await ofMonth(...args)).toMatchObject({ code: 0, stdout: expect.stringMatching(expected), stderr: '' });
  });

  it('is refused if it was edited', async () => {
    const edited = join(await temporaryFolder(), 'edited.jsonl');
    await writeFile(edited, (await readFile(MONTH, 'utf8')).replace('first model', 'worst model'));
    const { code, stdout } = await cliWith({}, 'replay', '--file', edited, '--at', '3');
    expect([code, stdout]).toEqual([7, '']);
  });
});

it('reports a message written directly to NATS, in every mode', async () => {
  const server = await startNats(process.env.NATS_SERVER_BIN!);
  const env = { NATS_URL: server.url, REGISTRY_VOLUME: await volumeFolder() };
  const registry = await startProgram(env.REGISTRY_VOLUME, { NATS_URL: server.url, REGISTRY_DISCOVERY: 'off' });
  for (const version of ['1.0.0', '1.1.0']) await publish(registry, version);
  const { js } = await connected(server);
  await js.publish(subjectOf('default'), 'hello');
  await js.publish(subjectOf('default'), '{}');
  const { code, stdout, stderr } = await cliWith(env, 'replay', '--verify', '--json');
  const finding = { revision: 3, model: 'default', check: 'encoding', actual: 'hello', unchecked: 1 };
  expect([code, JSON.parse(stdout)]).toMatchObject([7, { verified: false, findings: [finding] }]);
  expect(stderr).toContain('The history does not verify: at revision 3 of default: It is not JSON.');
  const csv = await cliWith(env, 'replay', '--verify', '--csv');
  expect(csv.stdout).toContain('3,default,encoding,It is not JSON.,,hello,1\r\n');
  const at = await cliWith(env, 'replay', '--at', '4');
  expect([at.code, at.stdout]).toEqual([7, expect.stringContaining('1.1.0')]);
  // The registry stops at that message too, and answers with the state before it.
  const against = await cliWith(env, 'replay', '--verify', '--against', registry.url, '--json');
  expect(JSON.parse(against.stdout)).toMatchObject({ differences: [], findings: [finding] });
});

describe('docs/audit.md', async () => {
  const root = join(import.meta.dirname, '../..');
  const text = await readFile(join(root, 'docs/audit.md'), 'utf8');
  const blocks = [...text.matchAll(/^```console\n\$ signalbox (replay .*)\n([\s\S]*?)^```$/gm)];

  it.each(blocks.map(([, command, output]) => [command!, output!]))('shows what %s prints', async (command, output) => {
    const args = [...command.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain!);
    const paths = args.map((arg) => (arg.startsWith('examples/') ? join(root, arg) : arg));
    const { code, stdout } = await cliWith({}, ...paths);
    expect([code, stdout]).toEqual([0, output]);
  });

  it('has more than five examples', () => expect(blocks.length).toBeGreaterThan(5));
});

describe('exit codes', () => {
  it.each([
    [2, []],
    [2, ['--at', '1', '--verify']],
    [2, ['--at', 'yesterday']],
    [2, ['--diff', '1']],
    [2, ['--diff', '1', '2', '3']],
    [2, ['--diff', '50', '20']],
    [2, ['--verify', '--json', '--csv']],
    [2, ['--verify', '--env', 'dev']],
    [2, ['--at', '1', '--against', 'http://127.0.0.1:1']],
    [2, ['--rollbacks', '--html', 'page.html']],
    [4, ['--at', '50', '-m', 'missing']],
    [4, ['--rollbacks', '-m', 'fraud', '-m', 'missing']],
    [4, ['--at', '50', '--env', 'moon']],
    [4, ['--timeline', '--env', 'moon']],
    [5, ['--verify', '--against', 'http://127.0.0.1:1']],
  ])('%i for %j', async (code, args) => {
    const result = await cliWith({ REGISTRY_TOKEN: 'any' }, 'replay', '--file', MONTH, ...args);
    expect([result.code, result.stdout]).toEqual([code, '']);
    expect(result.stderr).not.toBe('');
  });

  it('5 if NATS cannot be reached', async () => {
    const result = await cliWith({ NATS_URL: 'nats://127.0.0.1:1' }, 'replay', '--verify');
    expect([result.code, result.stdout]).toEqual([5, '']);
  });

  it('4 if there is no log', async () => {
    expect(await cliWith({ REGISTRY_VOLUME: await temporaryFolder() }, 'replay', '--verify')).toMatchObject({
      code: 4,
    });
  });

  it('1 if the file does not exist', async () => {
    expect(await cliWith({}, 'replay', '--file', '/nowhere.jsonl', '--verify')).toMatchObject({ code: 1, stdout: '' });
  });
});
