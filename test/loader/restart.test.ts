import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Loader } from '../../src/loader/index.ts';
import { emptyProgram, shared, until, volumeFolder } from '../program/support.ts';
import { temporaryFolder } from '../support/folder.ts';
import { startProgram } from '../support/program.ts';
import { isStream, startProxy } from './proxy.ts';
import { follow, ownModel, serves, silent, type TestModel } from './support.ts';

const program = shared(emptyProgram);

/** A model with 1.0.0 active and 1.1.0 published, behind a proxy that can cut off the registry. */
async function reachable() {
  const model = ownModel(program());
  await model.publish('1.0.0', 'one');
  await model.publish('1.1.0', 'two');
  await model.activate('1.0.0');
  const proxy = await startProxy(program().url);
  const cacheDir = await temporaryFolder();
  const { token } = program();
  const started = (options = {}) => follow({ url: proxy.url, token }, { model: model.name, cacheDir, ...options });
  return { model, proxy, cacheDir, started };
}

/** After an outage, attempts become rarer. */
const PATIENCE_MS = 50_000;

const text = (loader: Loader<TestModel>) => loader.use(({ model }) => model.text);

describe('a loader without its registry', { timeout: 60_000 }, () => {
  it('keeps serving, and follows when the registry is back', async () => {
    const SECRET = { REGISTRY_JWT_SECRET: 'a secret of thirty-two characters', REGISTRY_DISCOVERY: 'off' };
    const before = await startProgram(await volumeFolder(), SECRET);
    const model = ownModel(before);
    for (const version of ['1.0.0', '1.1.0']) await model.publish(version, version);
    await model.activate('1.0.0');
    const proxy = await startProxy(before.url);
    const loader = await follow({ url: proxy.url, token: before.token }, { model: model.name });
    await loader.ready();
    await before.stop();
    proxy.target = null;
    proxy.cut();
    await until(() => proxy.requests.filter(isStream).length > 1);
    expect(await text(loader)).toBe('1.0.0');
    expect(loader.status()).toMatchObject({ state: 'ready', stale: false });
    const again = await startProgram(before.volume, SECRET);
    proxy.target = again.url;
    await ownModel(again, model.name).activate('1.1.0');
    await serves(loader, '1.1.0', PATIENCE_MS);
  });

  it('starts with the last good version, which the registry confirms when it is back', async () => {
    const { model, proxy, started } = await reachable();
    const before = await started();
    await before.ready();
    await before.close();
    proxy.target = null;
    const loader = await started();
    expect((await loader.ready()).version).toBe('1.0.0');
    expect(loader.status()).toMatchObject({ state: 'ready', stale: true, current: { version: '1.0.0' } });
    proxy.target = program().url;
    await until(() => !loader.status().stale, PATIENCE_MS);
    expect(loader.status()).toMatchObject({ state: 'ready', cache: { hits: 1, misses: 0 } });
    await model.activate('1.1.0');
    await serves(loader, '1.1.0', PATIENCE_MS);
  });

  it('starts without a version to serve, and reports that until the registry is back', async () => {
    const { proxy, started } = await reachable();
    proxy.target = null;
    const loader = await started();
    await expect(loader.ready(1)).rejects.toThrow('the registry has not reported the active version');
    proxy.target = program().url;
    expect((await loader.ready()).version).toBe('1.0.0');
  });

  it('does not serve from a damaged cache', async () => {
    const { proxy, started, cacheDir } = await reachable();
    const before = await started();
    await before.ready();
    await before.close();
    const blobs = join(cacheDir, 'blobs/sha256');
    for (const name of await readdir(blobs)) await writeFile(join(blobs, name), 'bad');
    proxy.target = null;
    const errors: string[] = [];
    const log = { ...silent, error: (_: object, message: string) => void errors.push(message) };
    const loader = await started({ log });
    await until(() => errors.includes('the last good version could not be loaded'));
    expect(() => loader.lease()).toThrow();
    proxy.target = program().url;
    expect((await loader.ready()).model.text).toBe('one');
  });
});
