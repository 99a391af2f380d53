import { readdir, readFile, readlink, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Check } from '../../src/setup/check.ts';
import { INSTALL_TIMEOUT_MS } from '../support/cached.ts';
import { temporaryFolder } from '../support/folder.ts';
import { freePort } from '../support/nats.ts';
import { cliWith, type Program, startProgram } from '../support/program.ts';
import { STORES } from '../support/stores.ts';
import { type Files, ok, publish, send, sha256, shared, until, volumeFolder } from './support.ts';

const CREDENTIALS = { AWS_ACCESS_KEY_ID: 'nobody', AWS_SECRET_ACCESS_KEY: 'nothing', AWS_MAX_ATTEMPTS: '1' };

const filesOf = (version: string): Files => ({ 'model.bin': `model ${version}`, 'deep/notes.txt': `notes ${version}` });
const blobOf = (folder: string, content: string) => join(folder, 'blobs', sha256(content).replace(':', '/'));
const folders = (volume: string) => readdir(join(volume, 'versions')).then((names) => names.toSorted());
const activate = (program: Program, version: string) =>
  ok(program, 'POST', `/api/models/default/versions/${version}/activate`, {});
const fileOf = async ({ ask }: Program, version: string) =>
  (await ask('GET', `/api/models/default/versions/${version}/files/model.bin`)).text();

it('serves copies and moves what has them while the store is away, and refuses the rest clearly', async () => {
  const store = join(await temporaryFolder(), 'store');
  const env = { REGISTRY_DISCOVERY: 'off', REGISTRY_ARTIFACTS: `file:${store}` };
  const volume = await volumeFolder();
  const program = await startProgram(volume, env);
  for (const version of ['1.0.0', '2.0.0', '3.0.0']) await publish(program, version, filesOf(version));
  await activate(program, '1.0.0');
  await rm(blobOf(volume, 'notes 2.0.0'));
  await rm(join(volume, 'versions/2.0.0'), { recursive: true, force: true });
  await rename(store, `${store}-away`);

  expect(await fileOf(program, '1.0.0')).toBe('model 1.0.0');
  const put = await send(program, 'PUT', `/api/blobs/${sha256('new')}`, 'new');
  expect(put.status).toBe(503);
  expect(await put.json()).toMatchObject({ code: 'store-unavailable' });
  const refused = await program.ask('POST', '/api/models/default/versions/2.0.0/activate', {});
  expect({ status: refused.status, ...((await refused.json()) as object) }).toMatchObject({
    status: 503,
    code: 'store-unavailable',
  });
  expect((await activate(program, '3.0.0')).warnings).toEqual([]);
  expect(await readFile(join(volume, 'active/production/model.bin'), 'utf8')).toBe('model 3.0.0');
  await ok(program, 'POST', '/api/models/default/rollback', { reason: 'worse' });
  expect(await readlink(join(volume, 'active/production'))).toBe('../versions/1.0.0');

  await rename(`${store}-away`, store);
  expect((await activate(program, '2.0.0')).warnings).toEqual([]);
  expect(await readFile(join(volume, 'active/production/deep/notes.txt'), 'utf8')).toBe('notes 2.0.0');
});

/** As on a machine without the optional packages. */
const WITHOUT_SDKS = `import { registerHooks } from 'node:module';
registerHooks({
  resolve(name, context, next) {
    if (/^@(aws-sdk|azure|google-cloud)[/]/.test(name)) throw Object.assign(new Error(name), { code: 'ERR_MODULE_NOT_FOUND' });
    return next(name, context);
  },
});`;

it.each([
  ['s3', 'npm install @aws-sdk/client-s3 @aws-sdk/s3-request-presigner'],
  ['azure', 'npm install @azure/storage-blob @azure/identity'],
  ['gs', 'npm install @google-cloud/storage'],
])('says what to install for %s', async (scheme, install) => {
  const NODE_OPTIONS = `--import data:text/javascript,${encodeURIComponent(WITHOUT_SDKS)}`;
  const env = { NODE_OPTIONS, REGISTRY_ARTIFACTS: `${scheme}://models/x?endpoint=http://127.0.0.1:1` };
  const volume = await volumeFolder();
  await expect(startProgram(volume, env)).rejects.toThrow(`needs packages that are not installed: ${install}.`);
  const { stdout } = await cliWith({ ...env, REGISTRY_VOLUME: volume }, 'doctor', '--json');
  const { checks } = JSON.parse(stdout) as { checks: Check[] };
  expect(checks.find(({ name }) => name === 'artifact store')).toMatchObject({
    status: 'wrong',
    remedy: `Run ${install} where Signalbox is installed.`,
  });
});

describe.each(Object.entries(STORES))('artifacts in %s', (_, start) => {
  const store = shared(start, INSTALL_TIMEOUT_MS);

  async function registry() {
    const env = { REGISTRY_DISCOVERY: 'off', ...(await store()()) };
    return { env, program: await startProgram(await volumeFolder(), env) };
  }

  it('are stored there, and copied to the volume when they are used', async () => {
    const { env, program } = await registry();
    const { volume } = program;
    for (const version of ['1.0.0', '2.0.0', '3.0.0']) await publish(program, version, filesOf(version));
    await activate(program, '1.0.0');
    await program.stop();
    // As on another machine.
    for (const name of ['blobs', 'versions', 'latest', 'active']) await rm(join(volume, name), { recursive: true });
    const again = await startProgram(volume, env);
    await until(async () => (await ok(again, 'GET', '/readyz')).volume_progress.laid === 2);
    expect(await folders(volume)).toEqual(['1.0.0', '3.0.0']);
    expect(await readlink(join(volume, 'active/production'))).toBe('../versions/1.0.0');
    expect(await readFile(join(volume, 'active/production/deep/notes.txt'), 'utf8')).toBe('notes 1.0.0');
    expect(await fileOf(again, '2.0.0')).toBe('model 2.0.0');
    expect(await readFile(blobOf(volume, 'model 2.0.0'), 'utf8')).toBe('model 2.0.0');
    expect((await activate(again, '2.0.0')).warnings).toEqual([]);
    expect(await readFile(join(volume, 'active/production/deep/notes.txt'), 'utf8')).toBe('notes 2.0.0');
    const metrics = await (await again.ask('GET', '/metrics')).text();
    expect(metrics).toMatch(/^signalbox_artifact_reads_total\{from="store"\} [1-9]/m);
    expect(await ok(again, 'GET', '/readyz')).toMatchObject({ store: [], artifacts: [], volume: [] });
  });

  it('are tried by doctor and by init', async () => {
    const { env, program } = await registry();
    const doctor = async (variables: Record<string, string>) => {
      const all = { REGISTRY_DSN: program.url, REGISTRY_VOLUME: program.volume, ...env, ...variables };
      const { stdout } = await cliWith(all, 'doctor', '--json');
      return (JSON.parse(stdout) as { checks: Check[] }).checks.find(({ name }) => name === 'artifact store');
    };
    expect(await doctor({})).toMatchObject({ status: expect.stringMatching(/ok|skipped/) });
    const elsewhere = { REGISTRY_ARTIFACTS: 's3://no-such-bucket/x?endpoint=http://127.0.0.1:1' };
    expect(await doctor({ ...elsewhere, ...CREDENTIALS })).toMatchObject({
      status: 'wrong',
      detail: expect.stringContaining('s3://no-such-bucket/x cannot be used'),
    });
    const folder = await temporaryFolder();
    const empty = await store()();
    const given = [
      '--volume',
      join(folder, 'registry'),
      '--port',
      String(await freePort()),
      '--artifacts',
      empty.REGISTRY_ARTIFACTS,
    ];
    const { stdout } = await cliWith(empty, 'init', '--yes', '--json', '--out', folder, ...given);
    expect(JSON.parse(stdout)).toMatchObject({ installed: true });
    expect(await readFile(join(folder, '.env'), 'utf8')).toContain(empty.REGISTRY_ARTIFACTS);
  });

  it('are not mixed with those of another log', async () => {
    const { env, program } = await registry();
    await publish(program, '1.0.0', filesOf('1.0.0'));
    await expect(startProgram(await volumeFolder(), env)).rejects.toThrow(/belongs to another log/);
    await program.stop();
    const again = await startProgram(program.volume, env);
    await publish(again, '2.0.0', filesOf('2.0.0'));
  });
});
