import { describe, expect, it, onTestFinished } from 'vitest';
import type { LoaderReport, LoaderView, Target } from '../../src/domain/fleet.ts';
import { errorOf, reportOf } from '../support/loaders.ts';
import { startNats } from '../support/nats.ts';
import { cli, cliWith, type Program, startProgram } from '../support/program.ts';
import { emptyProgram, ok, problemOf, publish, send, shared, until, versionForm, volumeFolder } from './support.ts';

const program = shared(emptyProgram);

/** Creates a model with 1.0.0, active in production, and 1.1.0. */
async function modelNamed(model: string): Promise<{ base: string; first: Target; second: Target }> {
  const one = await publish(program(), '1.0.0', { 'a.txt': 'one' }, model);
  const two = await publish(program(), '1.1.0', { 'a.txt': 'two' }, model);
  const base = `/api/models/${model}`;
  const { revision } = await ok(program(), 'POST', `${base}/versions/1.0.0/activate`, {});
  const target = ({ version, manifest_digest }: Target, revision: number) => ({ version, manifest_digest, revision });
  return { base, first: target(one, revision), second: target(two, revision + 1) };
}

const serving = (target: Target) => reportOf({ state: 'ready', target, current: target });

async function say(base: string, instance: string, report: object, through: Program = program()) {
  let answer: [number, string] = [0, ''];
  // On a busy machine, NATS may take longer than the registry waits.
  await until(async () => {
    const response = await through.ask('PUT', `${base}/loaders/${instance}`, report);
    answer = [response.status, await response.text()];
    return response.status !== 503;
  });
  expect(answer).toEqual([204, '']);
}

/** Sends a report and waits until the registry shows it. */
async function report(base: string, instance: string, report: LoaderReport) {
  await say(base, instance, report);
  await until(async () => {
    const { loaders } = await ok(program(), 'GET', `${base}/loaders`);
    const shown = loaders.find((loader: LoaderView) => loader.instance === instance);
    return shown?.state === report.state && shown.since === report.since;
  });
}

describe('a report', () => {
  it('is listed as it was sent until the loader has stopped', async () => {
    const { base, first, second } = await modelNamed('shown');
    const failed = reportOf({ state: 'failed', target: second, current: first, error: errorOf('runtime-mismatch') });
    await report(base, 'b', serving(first));
    await report(base, 'a', failed);
    const { loaders, environments } = await ok(program(), 'GET', `${base}/loaders`);
    expect(loaders).toEqual([
      { model: 'shown', instance: 'a', reported_at: expect.stringMatching(/^\d{4}-.*Z$/), ...failed },
      { model: 'shown', instance: 'b', reported_at: expect.stringMatching(/^\d{4}-.*Z$/), ...serving(first) },
    ]);
    const { version, manifest_digest, revision } = first;
    const counts = { total: 2, converged: 1, failed: 1 };
    const none = { active: null, manifest_digest: null, revision: null, total: 0, converged: 0, failed: 0 };
    const production = { active: version, manifest_digest, revision, ...counts };
    expect(environments).toEqual({ production, staging: none, dev: none });
    await say(base, 'a', { ...failed, state: 'stopped' });
    await until(async () => (await ok(program(), 'GET', `${base}/loaders`)).loaders.length === 1);
  });

  it('is accepted before the first version, also under /api/registry', async () => {
    await say('/api/registry', 'early', reportOf());
    await until(async () => (await ok(program(), 'GET', '/api/models/default/loaders')).loaders.length === 1);
    expect((await ok(program(), 'GET', '/api/registry/loaders')).loaders).toMatchObject([
      { model: 'default', instance: 'early' },
    ]);
  });

  it('can be filtered by environment, also by one that only a loader knows', async () => {
    const { base, first } = await modelNamed('narrow');
    await report(base, 'a', serving(first));
    const lost = reportOf({ environment: 'moon', state: 'failed', error: errorOf('unknown-environment') });
    await report(base, 'lost', lost);
    const { environments } = await ok(program(), 'GET', `${base}/loaders`);
    expect(environments.moon).toMatchObject({ active: null, total: 1, failed: 1 });
    const production = await ok(program(), 'GET', `${base}/loaders?environment=production`);
    expect(Object.keys(production.environments)).toEqual(['production']);
    expect(production.loaders).toMatchObject([{ instance: 'a' }]);
    await problemOf(
      await program().ask('GET', `${base}/loaders?environment=moon`),
      ...([404, 'unknown-environment'] as const),
    );
  });

  it('needs the permission report; the list needs only read', async () => {
    const user = { Authorization: `Bearer ${await program().token('user')}` };
    const path = '/api/models/private/loaders';
    await problemOf(await program().ask('PUT', `${path}/a`, reportOf(), user), 403, 'forbidden');
    expect((await program().ask('GET', path, undefined, user)).status).toBe(200);
    await problemOf(await fetch(program().url + path), 401, 'unauthenticated');
  });

  it('is refused if it or the name of its instance is invalid', async () => {
    const path = '/api/models/bad/loaders';
    const put = async (instance: string, report: unknown) =>
      problemOf(await program().ask('PUT', `${path}/${instance}`, report), 400, 'invalid-request');
    await put('a', {});
    await put('a', { ...reportOf(), extra: 1 });
    await put('a', { ...reportOf(), state: 'bored' });
    await put('a', reportOf({ runtime: { packages: { ['p'.repeat(20_000)]: '1.0' } } }));
    await put('a.b', reportOf());
    await put('a%20b', reportOf());
    await put('x'.repeat(101), reportOf());
    await problemOf(await program().ask('PUT', '/api/models/Bad/loaders/a', reportOf()), 400, 'invalid-request');
    expect((await ok(program(), 'GET', path)).loaders).toEqual([]);
  });
});

it('reports get 503 while NATS is unavailable, and are accepted again afterwards', async () => {
  const nats = await startNats(process.env.NATS_SERVER_BIN!);
  const program = await startProgram(await volumeFolder(), { NATS_URL: nats.url, REGISTRY_DISCOVERY: 'off' });
  const path = '/api/models/default/loaders';
  await say('/api/models/default', 'a', reportOf(), program);
  await nats.kill();
  await problemOf(await program.ask('PUT', `${path}/a`, reportOf()), 503, 'log-unavailable');
  expect((await program.ask('GET', path)).status).toBe(200);
  await nats.start();
  await until(async () => (await program.ask('PUT', `${path}/b`, reportOf())).status === 204);
  await until(async () => {
    const { loaders } = await ok(program, 'GET', path);
    return loaders.some(({ instance }: LoaderView) => instance === 'b');
  });
});

it('an activation or rollback warns about running loaders that cannot load the version', async () => {
  const requires = { packages: { 'scikit-learn': '~=1.5.1' } };
  const base = '/api/models/warned';
  for (const version of ['1.0.0', '1.1.0']) {
    const response = await send(
      program(),
      ...(['POST', `${base}/versions`, versionForm({ version, requires }, { 'a.txt': version })] as const),
    );
    expect([response.status, await response.text()]).toEqual([201, expect.any(String)]);
  }
  await report(base, 'scorer-3', reportOf({ runtime: { packages: { 'scikit-learn': '1.4.2' } } }));
  await report(base, 'scorer-4', reportOf({ runtime: { packages: { 'scikit-learn': '1.5.2' } } }));
  await report(base, 'elsewhere', reportOf({ environment: 'dev', runtime: { packages: { 'scikit-learn': '1.4.2' } } }));
  const warnings = (version: string) => [
    `scorer-3 could not load ${version}: scikit-learn ~=1.5.1 wanted, 1.4.2 there`,
  ];
  const activate = (version: string, more = {}) => ok(program(), 'POST', `${base}/versions/${version}/activate`, more);
  expect(await activate('1.0.0', { dry_run: true })).toMatchObject({ warnings: warnings('1.0.0'), dry_run: true });
  expect(await activate('1.0.0')).toMatchObject({ warnings: warnings('1.0.0'), active: { version: '1.0.0' } });
  expect(await activate('1.1.0', { environment: 'staging' })).toMatchObject({ warnings: [] });
  await activate('1.1.0');
  const back = { reason: 'worse', dry_run: true };
  expect(await ok(program(), 'POST', `${base}/rollback`, back)).toMatchObject({ warnings: warnings('1.0.0') });
  const told = await cli(program(), 'activate', '1.0.0', '--env', 'production', '--dry-run', '-m', 'warned');
  expect([told.code, told.stderr]).toEqual([0, expect.stringContaining(`Warning: ${warnings('1.0.0')[0]}`)]);
});

describe('signalbox loaders', () => {
  it('lists loaders, and how many of each environment are up to date and which are not', async () => {
    const { base, first, second } = await modelNamed('listed');
    const none = await cli(program(), 'loaders', '-m', 'listed');
    expect(none).toEqual({ code: 0, stdout: 'No loader is running.\n', stderr: '' });
    const error = errorOf('runtime-mismatch', 'scikit-learn ~=1.5.1 wanted,\u001b[2J 1.4.2 found');
    await report(base, 'a', serving(first));
    await report(base, 'b', { ...serving(first), stale: true });
    await report(base, 'c', reportOf({ state: 'failed', target: first, error }));
    await report(base, 'd', serving(second));
    await report(base, 'e', reportOf({ environment: 'staging', state: 'no-target' }));
    const { code, stdout } = await cli(program(), 'loaders', '-m', 'listed');
    const since = '2026-03-03T14:05:02.120Z';
    expect([code, ...stdout.trimEnd().split('\n')]).toEqual([
      0,
      expect.stringMatching(/^INSTANCE +ENVIRONMENT +STATE +CURRENT +TARGET +SINCE +HEARD +ERROR$/),
      expect.stringMatching(new RegExp(`^a +production +ready +1\\.0\\.0 +1\\.0\\.0 +${since} +\\d+ s ago +-$`)),
      expect.stringMatching(/^b +production +ready \(stale\) +1\.0\.0 /),
      expect.stringMatching(/^c +production +failed +- +1\.0\.0 .* scikit-learn ~=1\.5\.1 wanted, \[2J 1\.4\.2 found$/),
      expect.stringMatching(/^d +production +ready +1\.1\.0 /),
      expect.stringMatching(/^e +staging +no-target +- +- /),
      'production: 2 of 4 on 1.0.0; 1 failed: c: scikit-learn ~=1.5.1 wanted, [2J 1.4.2 found; 1 not yet: d: serves 1.1.0',
      'staging: 1 of 1 are up to date (nothing is active)',
    ]);
    const staging = await cli(program(), 'loaders', '-m', 'listed', '-e', 'staging', '--json');
    expect(JSON.parse(staging.stdout)).toEqual(await ok(program(), 'GET', `${base}/loaders?environment=staging`));
    expect((await cli(program(), 'loaders', '-m', 'listed', '-e', 'moon')).code).toBe(4);
  });
});

describe('--wait', () => {
  const active = async (base: string) => (await ok(program(), 'GET', `${base}/versions/active`)).version;
  const production = ['--env', 'production'];

  it('returns when every loader serves the version, by activation and by rollback', async () => {
    const { base, first, second } = await modelNamed('waited');
    for (const instance of ['a', 'b']) await report(base, instance, serving(first));
    const activated = cli(program(), 'activate', '1.1.0', ...production, '-m', 'waited', '--wait');
    await until(async () => (await active(base)) === '1.1.0');
    const since = '2026-03-03T15:00:00Z';
    for (const instance of ['a', 'b']) await report(base, instance, { ...serving(second), since });
    expect(await activated).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^production went from 1\.0\.0 to 1\.1\.0 .*\n2 of 2 loaders on 1\.1\.0\n$/),
    });

    const again = await cli(program(), 'activate', '1.1.0', ...production, '-m', 'waited', '--wait', '--json');
    expect([again.code, JSON.parse(again.stdout)]).toEqual([0, expect.objectContaining({ code: 'already-active' })]);
    expect(again.stderr).toContain('2 of 2 loaders on 1.1.0');

    const reason = ['--reason', 'worse', '--yes'];
    const back = cli(program(), 'rollback', ...production, ...reason, '-m', 'waited', '--wait', '60');
    await until(async () => (await active(base)) === '1.0.0');
    for (const instance of ['a', 'b']) await report(base, instance, serving(first));
    expect(await back).toMatchObject({ code: 0, stdout: expect.stringContaining('2 of 2 loaders on 1.0.0\n') });
  });

  it('fails with 6 when all other loaders have given up, with their names and reasons', async () => {
    const { base, first, second } = await modelNamed('hopeless');
    for (const instance of ['a', 'b']) await report(base, instance, serving(first));
    const activated = cli(program(), 'activate', '1.1.0', ...production, '-m', 'hopeless', '--wait', '100000');
    await until(async () => (await active(base)) === '1.1.0');
    const since = '2026-03-03T15:00:00Z';
    const error = errorOf('golden-mismatch', 'request 3 was answered otherwise');
    await report(base, 'a', { ...serving(second), since });
    await report(base, 'b', reportOf({ state: 'failed', target: second, current: first, error, since }));
    const { code, stdout, stderr } = await activated;
    expect([code, stdout]).toEqual([6, expect.stringContaining('production went from 1.0.0 to 1.1.0')]);
    expect(stderr).toContain('1 of 2 loaders on 1.1.0.\n  b: request 3 was answered otherwise\n');
  });

  it('fails with 6 at the deadline, with the loaders that are behind; an earlier failure does not count as giving up', async () => {
    const { base, first, second } = await modelNamed('late');
    await report(base, 'a', serving(first));
    const error = errorOf('digest-mismatch', 'of an earlier target');
    await report(base, 'b', reportOf({ state: 'failed', target: { ...second, revision: 1 }, error }));
    const { code, stderr } = await cli(program(), 'activate', '1.1.0', ...production, '-m', 'late', '--wait', '2');
    expect([code, stderr]).toEqual([6, expect.stringContaining('0 of 2 loaders on 1.1.0.')]);
    expect(stderr).toContain('\n  a: serves 1.0.0\n  b: of an earlier target\n');
  });

  it('fails with 6 if the environment is moved to another version', async () => {
    const { base, first } = await modelNamed('overtaken');
    await report(base, 'a', serving(first));
    const activated = cli(program(), 'activate', '1.1.0', ...production, '-m', 'overtaken', '--wait', '100000');
    await until(async () => (await active(base)) === '1.1.0');
    await ok(program(), 'POST', `${base}/versions/1.0.0/activate`, {});
    expect(await activated).toMatchObject({ code: 6, stderr: expect.stringContaining('production is on 1.0.0') });
  });

  it('returns at once if no loader is running, and after a dry run', async () => {
    const { base, first } = await modelNamed('alone');
    const args = ['activate', '1.1.0', ...production, '-m', 'alone', '--wait'];
    expect(await cli(program(), ...args)).toMatchObject({ code: 0, stdout: expect.stringContaining('No loader is') });
    await report(base, 'a', reportOf({ state: 'fetching', target: first }));
    const rehearsal = await cli(program(), 'activate', '1.0.0', ...production, '-m', 'alone', '--wait', '--dry-run');
    expect(rehearsal).toMatchObject({ code: 0, stdout: expect.stringContaining('would go') });
    for (const wait of ['0', 'long']) expect((await cli(program(), ...args, wait)).code).toBe(2);
  });

  it('fails with 5 if the registry is unavailable until the deadline', async () => {
    const program = await emptyProgram(onTestFinished);
    await publish(program, '1.0.0');
    await say('/api/models/default', 'a', reportOf(), program);
    const env = { REGISTRY_DSN: program.url, REGISTRY_VOLUME: program.volume };
    const waiting = cliWith(env, 'activate', '1.0.0', ...production, '--wait', '5');
    await until(async () => (await program.ask('GET', '/api/registry/models/active')).status === 200);
    await program.kill();
    expect(await waiting).toMatchObject({ code: 5, stderr: expect.stringContaining('no answer') });
  });
});
