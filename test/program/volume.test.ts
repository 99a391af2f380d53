import { readdir, readFile, readlink, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { cli, type Program, startProgram } from '../support/program.ts';
import { ok, publish, send, sha256, until, volumeFolder } from './support.ts';

const env = { REGISTRY_DISCOVERY: 'off' };

it('a command warns about the files of its own model only, by paths relative to the volume', async () => {
  const volume = await volumeFolder();
  const first = await startProgram(volume, env);
  for (const model of ['fraud', 'churn']) await publish(first, '1.0.0', { 'model.txt': model }, model);
  await first.stop();
  const file = join(volume, 'models/fraud/versions/1.0.0/model.txt');
  await rm(file);
  await writeFile(file, 'another');
  const program = await startProgram(volume, env);
  const problem = 'models/fraud/versions/1.0.0/model.txt is not what was published';
  // It is `latest`, so the start checks its files, in the background.
  await until(async () => (await ok(program, 'GET', '/readyz')).counts.volume === 1);
  expect(await ok(program, 'GET', '/readyz')).toMatchObject({ volume: [problem] });

  const activate = (model: string) => ok(program, 'POST', `/api/models/${model}/versions/1.0.0/activate`, {});
  const started = performance.now();
  expect(await activate('churn')).toMatchObject({ warnings: [] });
  expect(performance.now() - started).toBeLessThan(4_000); // a command that waits does so for 5 s
  expect(await activate('fraud')).toMatchObject({ warnings: [problem] });
  expect(await readFile(join(volume, 'models/churn/active/production/model.txt'), 'utf8')).toBe('churn');
  expect(await readFile(file, 'utf8')).toBe('another');
});

const VERSIONS = 400;

/** A stopped registry with many versions, 1.0.0 active, and none of its folders laid. */
async function unlaid() {
  const volume = await volumeFolder();
  const program = await startProgram(volume, { ...env, REGISTRY_VOLUME_VERSIONS: 'active' });
  const digest = sha256('bytes');
  expect((await send(program, 'PUT', `/api/blobs/${digest}`, 'bytes')).ok).toBe(true);
  const artifacts = [{ path: 'model.txt', digest, size: 5 }];
  const all = Array.from({ length: VERSIONS }, (_, i) => `1.${i}.0`);
  for (const version of all) await ok(program, 'POST', '/api/models/default/versions', { version, artifacts });
  await ok(program, 'POST', '/api/models/default/versions/1.0.0/activate', {});
  await program.stop();
  await rm(join(volume, 'versions'), { recursive: true });
  return { volume, all };
}

const folders = async (volume: string) =>
  (await readdir(join(volume, 'versions')).catch(() => [])).filter((name) => !name.startsWith('.'));

const progress = async (program: Program) => (await ok(program, 'GET', '/readyz')).volume_progress;

it('lays what is missing after kill -9 in the middle of it, and each folder appears complete', {
  timeout: 120_000,
}, async () => {
  const { volume, all } = await unlaid();
  for (let kills = 0; kills < 4; kills++) {
    await rm(join(volume, 'versions'), { recursive: true, force: true });
    const program = await startProgram(volume, env);
    while ((await folders(volume)).length < 3 + 30 * kills) await sleep(1);
    await program.kill();
    for (const name of await folders(volume)) {
      expect(await readFile(join(volume, 'versions', name, 'model.txt'), 'utf8')).toBe('bytes');
    }
  }
  const program = await startProgram(volume, env);
  await until(async () => (await progress(program)).laid === VERSIONS);
  expect((await folders(volume)).toSorted()).toEqual(all.toSorted());
  expect(await ok(program, 'GET', '/readyz')).toMatchObject({ volume: [], artifacts: [] });
  expect((await readdir(join(volume, 'versions'))).toSorted()).toEqual(all.toSorted()); // nothing half is left
});

it('activates versions while folders are missing; each link is right when its command is answered', async () => {
  const { volume } = await unlaid();
  const program = await startProgram(volume, env);
  for (const version of ['1.7.0', '1.3.0', '1.11.0']) {
    const { warnings } = await ok(program, 'POST', `/api/models/default/versions/${version}/activate`, {});
    expect(warnings).toEqual([]);
    expect(await readlink(join(volume, 'active/production'))).toBe(`../versions/${version}`);
    expect(await readFile(join(volume, 'active/production/model.txt'), 'utf8')).toBe('bytes');
  }
  await until(async () => (await progress(program)).laid === VERSIONS);
});

it('rolls back to a version that has no folder with REGISTRY_VOLUME_VERSIONS=active', async () => {
  const { volume } = await unlaid();
  const program = await startProgram(volume, { ...env, REGISTRY_VOLUME_VERSIONS: 'active' });
  await until(async () => (await progress(program)).laid === 2);
  expect((await folders(volume)).toSorted()).toEqual(['1.0.0', `1.${VERSIONS - 1}.0`]);
  expect(await cli(program, 'lay', '1.9.0')).toMatchObject({ code: 0, stdout: 'versions/1.9.0 is on the volume.\n' });
  expect(await readFile(join(volume, 'versions/1.9.0/model.txt'), 'utf8')).toBe('bytes');
  expect(await cli(program, 'lay', '9.9.9')).toMatchObject({ code: 4 });
  await ok(program, 'POST', '/api/models/default/versions/1.5.0/activate', {});
  await rm(join(volume, 'versions/1.0.0'), { recursive: true });
  await ok(program, 'POST', '/api/models/default/rollback', { reason: 'worse' });
  expect(await readlink(join(volume, 'active/production'))).toBe('../versions/1.0.0');
  expect(await readFile(join(volume, 'active/production/model.txt'), 'utf8')).toBe('bytes');
  expect(await folders(volume)).toContain('1.5.0'); // a folder that was laid stays
  const metrics = await (await program.ask('GET', '/metrics')).text();
  expect(metrics).toMatch(/^signalbox_volume_versions 2$/m);
  expect(metrics).toMatch(/^signalbox_volume_versions_laid 2$/m);
});
