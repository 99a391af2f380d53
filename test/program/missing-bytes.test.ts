import { cp, readFile, readlink, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { Check } from '../../src/setup/check.ts';
import { startNats } from '../support/nats.ts';
import { cliWith, type Program, startProgram } from '../support/program.ts';
import { ok, publish, sha256, until, volumeFolder } from './support.ts';

const env = { REGISTRY_DISCOVERY: 'off', REGISTRY_JWT_SECRET: 's'.repeat(32) };

async function readiness({ ask }: Program) {
  const response = await ask('GET', '/readyz');
  return { status: response.status, ...((await response.json()) as { artifacts: object[]; volume: string[] }) };
}

async function doctor({ url, volume }: Program): Promise<Check | undefined> {
  const variables = { ...env, REGISTRY_DSN: url, REGISTRY_VOLUME: volume };
  const { stdout } = await cliWith(variables, 'doctor', '--json');
  return (JSON.parse(stdout) as { checks: Check[] }).checks.find(({ name }) => name === 'artifacts');
}

it('a server lists the versions whose bytes are not on its volume, until they are', {
  timeout: 120_000,
}, async () => {
  // Two registries on one log, each with a volume of its own.
  const { url } = await startNats(process.env.NATS_SERVER_BIN!);
  const one = await startProgram(await volumeFolder(), { ...env, NATS_URL: url });
  const other = await startProgram(await volumeFolder(), { ...env, NATS_URL: url });
  await publish(one, '1.0.0', { 'a.txt': 'a', 'b.txt': 'b' });
  await publish(one, '2.0.0', { 'a.txt': 'a', 'c.txt': 'c' });
  await publish(one, '3.0.0', { 'd.txt': 'd' });
  await ok(one, 'POST', '/api/models/default/versions/3.0.0/archive');
  await until(async () => (await readiness(other)).artifacts.length === 2);
  const lacking = { model: 'default', environments: [], missing: 2 };
  expect(await readiness(other)).toMatchObject({
    status: 200,
    ready: true,
    volume: [],
    artifacts: [
      { ...lacking, version: '1.0.0' },
      { ...lacking, version: '2.0.0' },
    ],
  });
  expect(await readiness(one)).toMatchObject({ artifacts: [], volume: [] });
  expect(await doctor(other)).toMatchObject({ status: 'warning', detail: expect.stringContaining('default 1.0.0') });
  expect(other.lines.filter((line) => line.includes('lacks the bytes')).length).toBeGreaterThan(0);

  await ok(one, 'POST', '/api/models/default/versions/2.0.0/activate');
  await until(async () => JSON.stringify((await readiness(other)).artifacts[0]).includes('production'));
  expect((await readiness(other)).artifacts).toMatchObject([
    { version: '2.0.0', environments: ['production'] },
    { version: '1.0.0', environments: [] },
  ]);
  expect((await readiness(other)).status).toBe(200);
  expect(await doctor(other)).toMatchObject({
    status: 'wrong',
    detail: expect.stringContaining('default 2.0.0 (active in production)'),
    remedy: expect.stringContaining('Copy blobs/'),
  });
  const metrics = await (await other.ask('GET', '/metrics')).text();
  expect(metrics).toMatch(/^signalbox_problems\{part="artifacts"\} 2$/m);

  await cp(join(one.volume, 'blobs'), join(other.volume, 'blobs'), { recursive: true, force: false });
  await until(async () => (await readiness(other)).artifacts.length === 0, 60_000);
  expect(await doctor(other)).toBeUndefined();
  const served = join(other.volume, 'active/production');
  expect(await readlink(served)).toBe('../versions/2.0.0');
  expect(await readFile(join(served, 'c.txt'), 'utf8')).toBe('c');
});

it('lists a version whose blob was deleted, and leaves the files of the version', async () => {
  const program = await startProgram(await volumeFolder(), env);
  await publish(program, '1.0.0', { 'a.txt': 'a', 'b.txt': 'b' });
  await program.stop();
  await rm(join(program.volume, 'blobs', sha256('a').replace(':', '/')));
  const again = await startProgram(program.volume, env);
  await until(async () => (await readiness(again)).artifacts.length > 0);
  expect(await readiness(again)).toMatchObject({ artifacts: [{ version: '1.0.0', missing: 1 }], volume: [] });
  expect(await readFile(join(program.volume, 'versions/1.0.0/a.txt'), 'utf8')).toBe('a');
});
