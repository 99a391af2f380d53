import { cp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { Loader } from '../../src/loader/index.ts';
import { emptyProgram, until, volumeFolder } from '../program/support.ts';
import { temporaryFolder } from '../support/folder.ts';
import { startProgram } from '../support/program.ts';
import { startProxy } from './proxy.ts';
import { follow, ownModel, serves, type TestModel } from './support.ts';

const ENV = { REGISTRY_JWT_SECRET: 'a secret of thirty-two characters', REGISTRY_DISCOVERY: 'off' };
const NAME = 'fraud';

/** A registry with 1.0.0 active and 1.1.0 published, behind a proxy whose target can change. */
async function behindAddress() {
  const program = await emptyProgram(onTestFinished, ENV);
  const model = ownModel(program, NAME);
  await model.publish('1.0.0', 'one');
  await model.publish('1.1.0', 'two');
  await model.activate('1.0.0');
  const proxy = await startProxy(program.url);
  const cacheDir = await temporaryFolder();
  const started = (options = {}) =>
    follow({ url: proxy.url, token: program.token }, { model: NAME, cacheDir, ...options });
  return { program, model, proxy, cacheDir, started };
}

/** After an outage, attempts become rarer. */
const PATIENCE_MS = 50_000;

const text = (loader: Loader<TestModel>) => loader.use(({ model }) => model.text);

describe('a loader with a diverged log', { timeout: 60_000 }, () => {
  it('keeps serving, also after a restart, and follows when the first log is back', async () => {
    const { program, model, proxy, started } = await behindAddress();
    const loader = await started();
    await loader.ready();
    const other = await emptyProgram(onTestFinished, ENV);
    const stranger = ownModel(other, NAME);
    for (const version of ['8.0.0', '9.0.0']) await stranger.publish(version, 'another');
    await stranger.activate('9.0.0');
    proxy.target = other.url;
    proxy.cut();
    await until(() => loader.status().state === 'diverged');
    expect(await text(loader)).toBe('one');
    await loader.close();
    const again = await started();
    expect((await again.ready()).version).toBe('1.0.0');
    await until(() => again.status().state === 'diverged');
    await stranger.activate('8.0.0');
    expect(await text(again)).toBe('one');
    proxy.target = program.url;
    proxy.cut();
    await model.activate('1.1.0');
    await serves(again, '1.1.0', PATIENCE_MS);
  });

  it('regards a log that lost its end as diverged', async () => {
    const { program, proxy, started } = await behindAddress();
    const loader = await started();
    await loader.ready();
    // Puts back the volume as it was before the next activation, without a restore.
    await program.stop();
    const backup = join(await volumeFolder(), 'copy');
    await cp(program.volume, backup, { recursive: true, verbatimSymlinks: true });
    const first = await startProgram(program.volume, ENV);
    proxy.target = first.url;
    await ownModel(first, NAME).activate('1.1.0');
    await serves(loader, '1.1.0', PATIENCE_MS);
    await first.stop();
    await rm(program.volume, { recursive: true });
    await cp(backup, program.volume, { recursive: true, verbatimSymlinks: true });
    const second = await startProgram(program.volume, ENV);
    proxy.target = second.url;
    await until(() => loader.status().state === 'diverged');
    expect(await text(loader)).toBe('two');
  });
});
