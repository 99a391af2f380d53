import { chmod, open, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { type Program, startProgram } from '../support/program.ts';
import { ok, publish, send, sha256, until, volumeFolder } from './support.ts';

const env = { REGISTRY_DISCOVERY: 'off' };

async function flipByte(path: string): Promise<void> {
  await chmod(path, 0o644);
  const file = await open(path, 'r+');
  await file.write('X', 3);
  await file.close();
}

const lists = (program: Program) => ok(program, 'GET', '/readyz');

const counted = async (program: Program, result: string) => {
  const text = await (await program.ask('GET', '/metrics')).text();
  return Number(new RegExp(`^signalbox_scrub_blobs_total\\{result="${result}"\\} (\\d+)$`, 'm').exec(text)![1]);
};

it('a scrub finds a flipped byte, serves it to nobody, and the same bytes heal it', { timeout: 120_000 }, async () => {
  const volume = await volumeFolder();
  const first = await startProgram(volume, env);
  await publish(first, '1.0.0', { 'model.txt': 'the bytes' });
  await ok(first, 'POST', '/api/models/default/versions/1.0.0/activate', {});
  await first.stop();
  const digest = sha256('the bytes');
  const blob = join(volume, 'blobs', digest.replace(':', '/'));
  await flipByte(blob);

  const off = await startProgram(volume, env); // without a scrub, nothing tells
  expect((await off.ask('GET', `/api/blobs/${digest}`)).status).toBe(200);
  await off.stop();

  const program = await startProgram(volume, { ...env, REGISTRY_SCRUB_HOURS: '1' });
  await until(async () => (await lists(program)).counts.artifacts === 1);
  expect((await lists(program)).artifacts).toMatchObject([
    { version: '1.0.0', environments: ['production'], missing: 1 },
  ]);
  expect(await counted(program, 'lost')).toBe(1);
  expect(program.lines.filter((line) => line.includes('blob.scrubbed') && line.includes(digest))).toHaveLength(1);
  expect((await program.ask('GET', `/api/blobs/${digest}`)).status).toBe(404);
  await expect(stat(join(volume, 'active/production/model.txt'))).rejects.toThrow('ENOENT');
  const activated = await program.ask('POST', '/api/models/default/versions/1.0.0/activate', { environment: 'dev' });
  expect(activated.status).toBe(409);
  const again = { version: '2.0.0', artifacts: [{ path: 'model.txt', digest, size: 9 }] };
  expect((await program.ask('POST', '/api/models/default/versions', again)).status).toBe(409);

  expect((await send(program, 'PUT', `/api/blobs/${digest}`, 'the bytes')).ok).toBe(true);
  await until(async () => (await lists(program)).counts.artifacts === 0, 60_000);
  expect(await readFile(join(volume, 'active/production/model.txt'), 'utf8')).toBe('the bytes');
  expect(await lists(program)).toMatchObject({ volume: [], artifacts: [] });
  await ok(program, 'POST', '/api/models/default/versions', again);
});

it('a scrub lays removed files again, also of a version that is not active', async () => {
  const volume = await volumeFolder();
  const first = await startProgram(volume, env);
  for (const version of ['1.0.0', '2.0.0']) await publish(first, version, { 'a/model.txt': version });
  await first.stop();
  const file = join(volume, 'versions/1.0.0/a/model.txt');
  await rm(file);
  const program = await startProgram(volume, { ...env, REGISTRY_SCRUB_HOURS: '1' });
  await until(async () => (await readFile(file, 'utf8').catch(() => '')) === '1.0.0');
  await program.stop();
  // The walks continue where they were.
  expect(JSON.parse(await readFile(join(volume, '.signalbox/scrub.json'), 'utf8'))).toMatchObject({ folders: '1' });
});
