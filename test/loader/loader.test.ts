import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import type { LoaderView } from '../../src/domain/fleet.ts';
import { startLoader } from '../../src/loader/index.ts';
import { emptyProgram, ok, shared, until } from '../program/support.ts';
import { temporaryFolder } from '../support/folder.ts';
import { startProxy } from './proxy.ts';
import { follow, hydrate, type OwnModel, ownModel, served, serves, silent } from './support.ts';

const started = shared(emptyProgram);

/** A model with versions 1.0.0, 1.1.0, … of these texts; the first is active. */
async function published(...texts: string[]): Promise<OwnModel> {
  const model = ownModel(started());
  for (const [i, text] of texts.entries()) await model.publish(`1.${i}.0`, text);
  if (texts.length > 0) await model.activate('1.0.0');
  return model;
}

function variables(values: Record<string, string>): void {
  for (const [name, value] of Object.entries(values)) vi.stubEnv(name, value);
  onTestFinished(() => void vi.unstubAllEnvs());
}

describe('a loader', () => {
  it('serves the active version, and swaps when that changes', async () => {
    const { name, activate, rollback } = await published('one', 'two');
    const loader = await follow(started(), { model: name });
    const { model, version, manifest } = await loader.ready();
    expect([model.text, version]).toEqual(['one', '1.0.0']);
    expect(manifest.artifacts[0]).toMatchObject({ path: 'model.txt', size: 3 });
    const lease = loader.lease();
    await activate('1.1.0');
    await serves(loader, '1.1.0');
    expect(await loader.use(({ model }) => model.text)).toBe('two');
    expect([lease.model.text, model.disposed]).toEqual(['one', false]);
    lease.release();
    await until(() => model.disposed);
    await rollback();
    await serves(loader, '1.0.0');
    expect(loader.status()).toMatchObject({ stale: false, error: null, cache: { misses: 2, hits: 1 } });
  });

  it('releases the lease when the work fails', async () => {
    const { name, activate } = await published('one', 'two');
    const loader = await follow(started(), { model: name });
    const { model } = await loader.ready();
    const failing = () => {
      throw new Error('bad request');
    };
    await expect(loader.use(failing)).rejects.toThrow('bad request');
    await expect(loader.use(async () => failing())).rejects.toThrow('bad request');
    await activate('1.1.0');
    await until(() => model.disposed);
  });

  it('serves the newest of many activations, and no disposed model', async () => {
    const model = await published('one', 'two', 'three');
    const loader = await follow(started(), { model: model.name });
    await loader.ready();
    let running = true;
    let requested = 0;
    const requests = (async () => {
      while (running) {
        await loader.use(async ({ model, version }) => {
          await new Promise((resolve) => setImmediate(resolve));
          expect(model.disposed).toBe(false);
          expect(model.text).toBe({ '1.0.0': 'one', '1.1.0': 'two', '1.2.0': 'three' }[version]);
        });
        requested++;
      }
    })();
    for (let round = 0; round < 5; round++) {
      for (const version of ['1.1.0', '1.2.0', '1.0.0']) await model.activate(version);
    }
    const { revision } = await model.activate('1.2.0');
    await until(() => loader.status().current?.revision === revision);
    running = false;
    await requests;
    expect(served(loader)).toBe('1.2.0');
    expect(requested).toBeGreaterThan(0);
  });

  it('waits for a model that does not exist yet', async () => {
    const model = ownModel(started());
    const loader = await follow(started(), { model: model.name });
    await until(() => loader.status().state === 'no-target');
    await expect(loader.ready(1)).rejects.toThrow('No version serves after 0.001 s: no version is active.');
    expect(() => loader.lease()).toThrow('No version serves yet: no version is active.');
    await expect(loader.use(() => null)).rejects.toThrow('no version is active');
    await model.publish('0.1.0', 'first');
    await model.activate('0.1.0');
    expect((await loader.ready()).model.text).toBe('first');
  });

  it('keeps serving after a deactivation, and does not load the version again', async () => {
    const { name, deactivate, activate } = await published('one');
    const loader = await follow(started(), { model: name });
    const { model } = await loader.ready();
    await deactivate();
    await until(() => loader.status().state === 'no-target');
    expect(await loader.use(({ version }) => version)).toBe('1.0.0');
    const { revision } = await activate('1.0.0');
    await until(() => loader.status().current?.revision === revision);
    expect([loader.status().state, model.disposed]).toEqual(['ready', false]);
  });

  it('reports an unknown environment', async () => {
    const { name } = await published('one');
    const loader = await follow(started(), { model: name, environment: 'moon' });
    await until(() => loader.status().state === 'failed');
    expect(loader.status().error).toMatchObject({ code: 'unknown-environment' });
    await expect(loader.ready(1)).rejects.toThrow('no such environment');
  });

  it('follows only its own environment', async () => {
    const { name, activate } = await published('one', 'two');
    const staging = await follow(started(), { model: name, environment: 'staging' });
    await activate('1.1.0', 'staging');
    await serves(staging, '1.1.0');
    const production = await follow(started(), { model: name });
    expect((await production.ready()).version).toBe('1.0.0');
  });

  it('reads files from a mounted volume', async () => {
    const { name } = await published('one');
    const proxy = await startProxy(started().url);
    const { token, volume } = started();
    const loader = await follow({ url: proxy.url, token }, { model: name, volume });
    expect((await loader.ready()).model.text).toBe('one');
    expect(proxy.requests.filter(({ path }) => path.includes('/files/'))).toEqual([]);
  });

  it('derives values from a version, and disposes of them with it', async () => {
    const { name, activate } = await published('one', 'two');
    const loader = await follow(started(), { model: name });
    await loader.ready();
    const disposed: string[] = [];
    const index = () =>
      loader.use(({ derived, model }) =>
        derived('index', async () => `index of ${model.text}`, { dispose: (value) => disposed.push(value) }),
      );
    expect(await Promise.all([index(), index()])).toEqual(['index of one', 'index of one']);
    await activate('1.1.0');
    await serves(loader, '1.1.0');
    expect(await index()).toBe('index of two');
    await until(() => disposed.length === 1);
    expect(disposed).toEqual(['index of one']);
  });

  it('reads options that are not set from variables', async () => {
    const { name } = await published('one');
    const proxy = await startProxy(started().url);
    variables({
      REGISTRY_DSN: `${started().url}/`,
      REGISTRY_TOKEN: await started().token(),
      REGISTRY_MODEL: name,
      REGISTRY_ENVIRONMENT: 'production',
      HOT_RELOAD_ENDPOINT: `${proxy.url}/api/models/${name}/events`,
      MANIFEST_CACHE_DIR: await temporaryFolder(),
    });
    const loader = await startLoader({ hydrate, log: silent });
    onTestFinished(() => loader.close());
    expect((await loader.ready()).model.text).toBe('one');
    expect(new Set(proxy.requests.map(({ path }) => path))).toEqual(new Set([`/api/models/${name}/events`]));
  });

  it('signs its own token for a registry on this machine', async () => {
    const { name } = await published('one');
    variables({ REGISTRY_VOLUME: started().volume });
    const options = { dsn: started().url, model: name, cacheDir: await temporaryFolder() };
    const loader = await startLoader({ ...options, hydrate, log: silent });
    onTestFinished(() => loader.close());
    expect((await loader.ready()).model.text).toBe('one');
  });

  it('does not start with invalid options', async () => {
    const wrong = [{ model: 'NO' }, { environment: 'No!' }, { dsn: 'nats://host' }, { endpoint: 'ftp://host' }];
    for (const options of wrong) await expect(follow(started(), options)).rejects.toThrow('Invalid variables: ');
    const file = join(await temporaryFolder(), 'file');
    await writeFile(file, '');
    await expect(follow(started(), { cacheDir: file })).rejects.toThrow();
  });
});

describe('reports', () => {
  const reported = async ({ name }: OwnModel): Promise<LoaderView[]> =>
    (await ok(started(), 'GET', `/api/models/${name}/loaders`)).loaders;

  it('reach the registry at every change, and end when the loader is closed', async () => {
    const model = await published('one', 'two');
    const loader = await follow(started(), { model: model.name });
    const shows = async (state: string, version: string) => {
      await until(async () => {
        const [report] = await reported(model);
        return report?.state === state && report.target?.version === version;
      });
      const [report] = await reported(model);
      const { instance, reported_at: _, ...rest } = report!;
      expect(instance).toMatch(/^[A-Za-z0-9_-]+-\d+-[0-9a-f]{4}$/);
      return rest;
    };
    expect(await shows('ready', '1.0.0')).toEqual({ model: model.name, ...loader.status() });
    await model.publish('2.0.0', 'bad', {}, { requires: { npm: { 'no-such-package': '*' } } });
    await model.activate('2.0.0');
    expect(await shows('failed', '2.0.0')).toMatchObject({
      current: { version: '1.0.0' },
      error: { code: 'runtime-mismatch' },
      runtime: { node: process.versions.node, npm: {} },
    });
    await model.rollback();
    await shows('ready', '1.0.0');
    await loader.close();
    await until(async () => (await reported(model)).length === 0);
    expect(loader.status().state).toBe('stopped');
  });

  it('are separate for each loader of a process', async () => {
    const model = await published('one');
    const loaders = await Promise.all([1, 2, 3].map(() => follow(started(), { model: model.name })));
    await until(async () => {
      const { environments } = await ok(started(), 'GET', `/api/models/${model.name}/loaders`);
      return environments.production.converged === 3;
    });
    await loaders[0]!.close();
    await until(async () => (await reported(model)).length === 2);
  });
});

describe('SIGNALBOX_LEGACY', () => {
  async function legacy(file = 'model.txt') {
    const folder = await temporaryFolder();
    await writeFile(join(folder, 'model.txt'), 'old');
    await writeFile(join(folder, 'words.txt'), 'in the same folder');
    variables({ SIGNALBOX_LEGACY: join(folder, file) });
    return { url: 'http://127.0.0.1:9', token: async () => 'none' };
  }

  it('serves that file without contacting the registry', async () => {
    const nowhere = await legacy();
    const seen: string[] = [];
    const loader = await follow(nowhere, {
      async hydrate(version, files, signal) {
        const { readFile } = await import('node:fs/promises');
        seen.push(version.version, await readFile(files.path('words.txt'), 'utf8'));
        // Every `model.…` is that file, whatever the suffix.
        return { ...(await hydrate(version, { ...files, path: () => files.path('model.onnx') }, signal)) };
      },
    });
    const { model, version } = await loader.ready();
    expect([model.text, version, seen]).toEqual(['old', 'legacy', ['legacy', 'in the same folder']]);
    expect(loader.status()).toMatchObject({ state: 'ready', target: null, current: { version: 'legacy' } });
    const lease = loader.lease();
    const closing = loader.close();
    await new Promise((resolve) => setImmediate(resolve));
    expect(lease.model.disposed).toBe(false);
    lease.release();
    await closing;
    expect(model.disposed).toBe(true);
    expect(() => loader.lease()).toThrow();
  });

  it('reports why the file cannot be loaded', async () => {
    const loader = await follow(await legacy('absent.txt'));
    await expect(loader.ready()).rejects.toThrow('ENOENT');
    expect(loader.status()).toMatchObject({ state: 'failed', error: { code: 'hydrate-failed' } });
    expect(() => loader.lease()).toThrow('ENOENT');
    await expect(loader.use(() => null)).rejects.toThrow('ENOENT');
  });
});
