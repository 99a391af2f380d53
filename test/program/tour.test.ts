import { lstat, readdir, readFile, readlink, realpath, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { cli, type Program, startProgram } from '../support/program.ts';
import {
  artifactsOf,
  copySample,
  laid,
  ok,
  publish,
  SAMPLES,
  shared,
  until,
  versionForm,
  visible,
  volumeFolder,
} from './support.ts';

// The tests of this file depend on each other and run in order.
describe('the whole story', () => {
  const started = shared(async (ends) => {
    const volume = await volumeFolder(ends);
    for (const name of await readdir(SAMPLES)) await copySample(name, join(volume, 'versions', name));
    return { program: await startProgram(volume, {}, ends), ends };
  });
  const program = () => started().program;
  const restart = async () => {
    const { program, ends } = started();
    await program.stop();
    started().program = await startProgram(program.volume, {}, ends);
  };
  const active = (environment: string) => realpath(join(program().volume, 'active', environment));

  it('publishes the versions found on the volume', async () => {
    await until(async () => {
      const response = await program().ask('GET', '/api/models/default/versions');
      return response.ok && ((await response.json()) as { versions: unknown[] }).versions.length === 2;
    });
    const { versions } = await ok(program(), 'GET', '/api/models/default/versions');
    expect(versions).toHaveLength(2);
    const first = versions.find(({ version }: { version: string }) => version === '1.0.0');
    expect(first).toMatchObject({
      model: 'default',
      status: 'ready',
      active_flag: false,
      active_in: [],
      published_by: 'volume',
      manifest: { flavor: 'sklearn', requires: { python: expect.any(String) } },
    });
    expect(first.manifest.artifacts.map(({ path }: { path: string }) => path)).toEqual(
      (await readdir(join(SAMPLES, '1.0.0'))).sort(),
    );
    // No request waits for a version that discovery publishes: its links follow later.
    await until(async () => (await readlink(join(program().volume, 'latest'))) === 'versions/1.1.0');
  });

  it('replaces the files of found versions by read-only links to blobs with the same bytes', async () => {
    const path = join(program().volume, 'versions/1.0.0/model.joblib');
    await until(async () => (await stat(path)).nlink === 2);
    expect((await stat(path)).mode & 0o222).toBe(0);
    expect(await readFile(path)).toEqual(await readFile(join(SAMPLES, '1.0.0/model.joblib')));
  });

  it('publishes a third version from a folder by the command line', async () => {
    const run = await cli(program(), 'publish', join(SAMPLES, '1.1.0'), '--version', '1.2.0', '--notes', 'third');
    expect(run).toMatchObject({ code: 0, stdout: 'default 1.2.0 is published (revision 3).\n' });
    expect(await readlink(join(program().volume, 'latest'))).toBe('versions/1.2.0');
    expect(await ok(program(), 'GET', '/api/models/default/versions/latest')).toMatchObject({
      version: '1.2.0',
      notes: 'third',
    });
    expect((await cli(program(), 'latest')).stdout).toBe('1.2.0\n');
  });

  it('activates over HTTP, and shows it under active/', async () => {
    const answer = await ok(program(), 'POST', '/api/models/default/versions/1.0.0/activate', { reason: 'first' });
    expect(answer).toMatchObject({
      environment: 'production',
      active: { version: '1.0.0', active_flag: true, active_in: ['production'] },
      previous: null,
      revision: 4,
      runtime_checked: false,
      warnings: [],
      dry_run: false,
    });
    expect(await readlink(join(program().volume, 'active/production'))).toBe('../versions/1.0.0');
    expect(await readFile(join(program().volume, 'active/production/model.joblib'))).toEqual(
      await readFile(join(SAMPLES, '1.0.0/model.joblib')),
    );
    expect(await ok(program(), 'GET', '/api/models/default/versions/active')).toMatchObject({
      version: '1.0.0',
      environment: 'production',
      activated: { by: 'tester', reason: 'first', revision: 4 },
    });
  });

  it('activates another one with the command line', async () => {
    const run = await cli(program(), 'activate', '1.2.0', '--env', 'production');
    expect(run).toMatchObject({ code: 0, stdout: 'production went from 1.0.0 to 1.2.0 (revision 5).\n' });
    expect(await active('production')).toBe(join(program().volume, 'versions/1.2.0'));
    const { stdout } = await cli(program(), 'list', '--active');
    expect(stdout.split('\n')[0]).toMatch(/^VERSION +STATUS +ACTIVE IN +PUBLISHED +BY +NOTES$/);
    expect(stdout).toMatch(/^1\.2\.0 +ready +production/m);
    expect(stdout).not.toContain('1.0.0');
  });

  it('rolls back with a reason', async () => {
    const answer = await ok(program(), 'POST', '/api/models/default/rollback', { reason: 'recall dropped' });
    expect(answer).toMatchObject({ active: { version: '1.0.0' }, previous: { version: '1.2.0' }, revision: 6 });
    expect(await active('production')).toBe(join(program().volume, 'versions/1.0.0'));
    const { events } = await ok(program(), 'GET', '/api/models/default/history?type=version.rolled_back');
    expect(events).toMatchObject([{ data: { reason: 'recall dropped', reverts: [5], previous: '1.2.0' } }]);
  });

  it('keeps notes and their history', async () => {
    await ok(program(), 'PATCH', '/api/models/default/versions/1.0.0/notes', { notes: 'one' });
    expect((await cli(program(), 'notes', '1.0.0', 'two')).code).toBe(0);
    expect((await cli(program(), 'notes', '1.0.0')).stdout).toBe('two\n');
    const { events } = await ok(program(), 'GET', '/api/models/default/history?type=notes.changed');
    expect(events.map(({ data }: { data: { notes: string } }) => data.notes)).toEqual(['two', 'one']);
  });

  it('archives a version, which is then neither the latest nor can be activated, and puts it back into use', async () => {
    expect((await cli(program(), 'archive', '1.2.0', '--reason', 'bad split')).stdout).toBe('1.2.0 is archived.\n');
    expect(await readlink(join(program().volume, 'latest'))).toBe('versions/1.1.0');
    const refused = await program().ask('POST', '/api/models/default/versions/1.2.0/activate', {});
    expect([refused.status, (await refused.json()) as object]).toMatchObject([409, { code: 'version-archived' }]);
    expect((await cli(program(), 'list', '--archived')).stdout).toContain('1.2.0');
    expect(await ok(program(), 'POST', '/api/models/default/versions/1.2.0/restore')).toMatchObject({
      status: 'ready',
    });
    expect(await readlink(join(program().volume, 'latest'))).toBe('versions/1.2.0');
    const active = await program().ask('POST', '/api/models/default/versions/1.0.0/archive', {});
    expect([active.status, (await active.json()) as object]).toMatchObject([
      409,
      { code: 'version-active', active_in: ['production'] },
    ]);
  });

  it('deactivates, and a rollback activates the version again', async () => {
    expect((await cli(program(), 'deactivate', '-e', 'production', '--reason', 'trial')).code).toBe(0);
    await expect(lstat(join(program().volume, 'active/production'))).rejects.toThrow('ENOENT');
    const none = await program().ask('GET', '/api/models/default/versions/active');
    expect([none.status, (await none.json()) as object]).toMatchObject([404, { code: 'no-active-version' }]);
    await ok(program(), 'POST', '/api/models/default/rollback', { reason: 'trial over' });
    expect(await active('production')).toBe(join(program().volume, 'versions/1.0.0'));
  });

  it('checks a version against the runtime of its environment', async () => {
    const run = await cli(program(), 'runtime', '--env', 'staging', '--python', '3.8.1', 'scikit-learn==0.24.2');
    expect(run.code).toBe(0);
    const refused = await program().ask('POST', '/api/models/default/versions/1.1.0/activate', {
      environment: 'staging',
    });
    const problem = (await refused.json()) as { mismatches: { name: string }[] };
    expect([refused.status, problem]).toMatchObject([422, { code: 'runtime-mismatch' }]);
    expect(problem.mismatches.map(({ name }) => name).sort()).toEqual(['python', 'scikit-learn']);
    expect(problem.mismatches[0]).toEqual({
      name: expect.any(String),
      expected: expect.any(String),
      actual: expect.any(String),
      source: 'declared',
    });
  });

  it('serves another model than the default one', async () => {
    await publish(program(), '0.1.0', { 'weights/w.bin': 'w', 'readme.md': 'r' }, 'fraud');
    await ok(program(), 'POST', '/api/models/fraud/versions/0.1.0/activate', { environment: 'dev' });
    const folder = join(program().volume, 'models/fraud');
    expect(await readFile(join(folder, 'active/dev/weights/w.bin'), 'utf8')).toBe('w');
    expect(await readlink(join(folder, 'latest'))).toBe('versions/0.1.0');
    const { models } = await ok(program(), 'GET', '/api/models');
    expect(models.map(({ model }: { model: string }) => model)).toEqual(['fraud', 'default']);
    expect(models[0]).toMatchObject({ latest: '0.1.0', versions: 1, active: { dev: '0.1.0', production: null } });
    expect((await cli(program(), 'list', '--models')).stdout).toMatch(/^fraud +0\.1\.0 +1 +dev=0\.1\.0$/m);
    expect((await cli(program(), 'show', '0.1.0', '-m', 'fraud')).stdout).toContain('readme.md (1 bytes)');
  });

  it('answers aliases as the canonical paths', async () => {
    const pairs = [
      ['models', 'versions'],
      ['models?status=ready&page_size=2', 'versions?status=ready&page_size=2'],
      ['models/active?environment=production', 'versions/active?environment=production'],
      ['models/latest', 'versions/latest'],
      ['models/1.0.0', 'versions/1.0.0'],
      ['models/1.0.0/manifest', 'versions/1.0.0/manifest'],
      ['models/1.0.0/files/metadata.json', 'versions/1.0.0/files/metadata.json'],
      ['history', 'history'],
    ] as const;
    for (const [alias, canonical] of pairs) {
      const [one, other] = await Promise.all([
        program().ask('GET', `/api/registry/${alias}`),
        program().ask('GET', `/api/models/default/${canonical}`),
      ]);
      expect(one.status).toBe(200);
      expect(one.headers.get('etag')).toBe(other.headers.get('etag'));
      expect(await one.text()).toBe(await other.text());
    }
    const form = versionForm({ version: '2.0.0-rc.1' }, { 'x.txt': 'x' });
    const headers = { Authorization: `Bearer ${await program().token()}` };
    const published = await fetch(`${program().url}/api/registry/models`, { method: 'POST', headers, body: form });
    expect([published.status, published.headers.get('location')]).toEqual([
      201,
      '/api/models/default/versions/2.0.0-rc.1',
    ]);
    await ok(program(), 'POST', '/api/registry/models/2.0.0-rc.1/activate', { environment: 'dev' });
    await ok(program(), 'PATCH', '/api/registry/models/2.0.0-rc.1/notes', { notes: 'candidate' });
    await ok(program(), 'POST', '/api/registry/deactivate', { environment: 'dev', reason: 'no' });
    await ok(program(), 'POST', '/api/registry/rollback', { environment: 'dev', reason: 'yes' });
    await ok(program(), 'PUT', '/api/registry/environments/dev/runtime', { python: '3.11.7' });
    await ok(program(), 'POST', '/api/registry/models/1.1.0/archive', {});
    await ok(program(), 'POST', '/api/registry/models/1.1.0/restore', {});
  });

  it('answers the summary for the gateway', async () => {
    expect(await ok(program(), 'GET', '/models')).toEqual({
      versions: ['1.0.0', '1.1.0', '1.2.0', '2.0.0-rc.1'].sort(),
      latest: '1.2.0',
      active: '1.0.0',
    });
    const { version, metadata } = await ok(program(), 'GET', '/models/latest');
    expect(version).toBe('1.2.0');
    expect(metadata).toEqual(JSON.parse(await readFile(join(SAMPLES, '1.1.0/metadata.json'), 'utf8')));
  });

  it('publishes a version as JSON after its blobs were stored', async () => {
    const files = { 'model.onnx': 'onnx' };
    const [artifact] = artifactsOf(files);
    const put = await fetch(`${program().url}/api/blobs/${artifact!.digest}`, {
      method: 'PUT',
      headers: { Authorization: `Bearer ${await program().token()}` },
      body: 'onnx',
    });
    expect([put.status, await put.json()]).toEqual([201, { digest: artifact!.digest, size: 4 }]);
    const body = { bump: 'minor', flavor: 'onnx', artifacts: [artifact], metrics: { auc: 0.9 } };
    const published = await program().ask('POST', '/api/models/default/versions', body);
    expect([published.status, (await published.json()) as object]).toMatchObject([201, { version: '1.3.0' }]);
    expect(await readFile(join(program().volume, 'versions/1.3.0/model.onnx'), 'utf8')).toBe('onnx');
  });

  it('answers the same after a restart', async () => {
    const before = await everything(program());
    await restart();
    await laid(program());
    expect(await everything(program())).toEqual(before);
  });

  it('recreates links and folders that were deleted while it was stopped', async () => {
    const before = await visible(program().volume);
    const { program: old, ends } = started();
    await old.stop();
    for (const path of ['active', 'latest', 'versions/1.1.0', 'versions/1.0.0/model.joblib', 'models']) {
      await rm(join(old.volume, path), { recursive: true });
    }
    started().program = await startProgram(old.volume, {}, ends);
    await laid(program());
    expect(await visible(program().volume)).toEqual(before);
  });
});

async function everything(program: Program) {
  const paths = [
    '/api/models',
    '/api/models/default/versions',
    '/api/models/default/history',
    '/api/models/default/versions/active',
    '/api/models/fraud/versions',
    '/api/models/fraud/history',
    '/readyz',
  ];
  const answers = await Promise.all(paths.map((path) => ok(program, 'GET', path)));
  const { headers } = await fetch(`${program.url}/healthz`);
  return { answers, revision: headers.get('registry-revision'), files: await visible(program.volume) };
}
