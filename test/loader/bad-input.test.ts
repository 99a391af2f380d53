import { readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { LoaderOptions } from '../../src/loader/index.ts';
import { emptyProgram, shared, until } from '../program/support.ts';
import { temporaryFolder } from '../support/folder.ts';
import { canMount, smallDisk } from './disk.ts';
import { isFile, isPoll, isStream, type Seen, startProxy, to } from './proxy.ts';
import { failsAt, follow, hydrate, ownModel, served, serves, silent, type TestModel } from './support.ts';

const started = shared(emptyProgram);

const isManifest = ({ path }: Seen) => path.endsWith('/manifest');

/** A loader that serves 1.0.0 through a proxy; 1.1.0 is published. */
async function serving(options: Partial<LoaderOptions<TestModel>> = {}, more: object = {}) {
  const model = ownModel(started());
  await model.publish('1.0.0', 'one');
  await model.publish('1.1.0', 'two', { 'golden.json': '{"requests":[{"input":"!","output":"two!"}]}' }, more);
  await model.activate('1.0.0');
  const proxy = await startProxy(started().url);
  const { token } = started();
  const loader = await follow({ url: proxy.url, token }, { model: model.name, ...options });
  await loader.ready();
  const { model: first } = await loader.ready();
  /** Checks that 1.0.0 still serves. */
  const unharmed = async () => {
    expect(await loader.use(({ model, version }) => [model.text, version])).toEqual(['one', '1.0.0']);
    expect(first.disposed).toBe(false);
  };
  return { model, proxy, loader, unharmed };
}

describe('an artifact', () => {
  it('that was altered is refused until the environment is moved', async () => {
    const { model, proxy, loader, unharmed } = await serving();
    proxy.tamper = to(isFile('model.txt'), { alter: (body) => body.map((byte) => byte ^ 1) });
    await model.activate('1.1.0');
    await failsAt(loader, '1.1.0', 'digest-mismatch');
    expect(loader.status().error!.message).toMatch(/^model\.txt: The bytes are sha256:/);
    await unharmed();
    proxy.tamper = () => null;
    const requested = proxy.requests.filter(isFile('model.txt')).length;
    await model.reactivate('1.1.0');
    await serves(loader, '1.1.0');
    expect(proxy.requests.filter(isFile('model.txt')).length).toBe(requested + 1);
    expect(loader.status().error).toBeNull();
  });

  it('with more bytes than in the manifest is refused', async () => {
    const { model, proxy, loader, unharmed } = await serving();
    proxy.tamper = to(isFile('model.txt'), { alter: (body) => Buffer.concat([body, Buffer.from('!')]) });
    await model.activate('1.1.0');
    await failsAt(loader, '1.1.0', 'digest-mismatch');
    expect(loader.status().error!.message).toContain('3 bytes, but more than 3 arrived');
    await unharmed();
  });

  it('with fewer bytes is retried', async () => {
    const { model, proxy, loader, unharmed } = await serving();
    proxy.tamper = (seen) =>
      isFile('model.txt')(seen) ? { alter: (body) => body.subarray(0, seen.headers.range ? 0 : 2) } : null;
    await model.activate('1.1.0');
    await failsAt(loader, '1.1.0', 'fetch-failed');
    await unharmed();
    proxy.tamper = () => null;
    await serves(loader, '1.1.0');
  });

  it('is resumed if the download is cut', async () => {
    const { model, proxy, loader } = await serving();
    await model.publish('2.0.0', 'x'.repeat(300_000));
    const cuts = [{ cut: 100_000 }, { cut: 100_000 }];
    proxy.tamper = (seen) => (isFile('model.txt')(seen) ? cuts.shift() : null);
    await model.activate('2.0.0');
    await serves(loader, '2.0.0');
    const ranges = proxy.requests.filter(isFile('model.txt')).slice(1);
    expect(ranges.map(({ status }) => status)).toEqual([200, 206, 206]);
    expect(ranges.map(({ headers }) => headers.range)).toEqual([undefined, 'bytes=100000-', 'bytes=200000-']);
  });

  it('that is missing is retried', async () => {
    const { model, proxy, loader, unharmed } = await serving();
    proxy.tamper = to(isFile('model.txt'), { instead: { status: 502, body: '<html>' } });
    await model.activate('1.1.0');
    await failsAt(loader, '1.1.0', 'fetch-failed');
    await unharmed();
    proxy.tamper = () => null;
    await serves(loader, '1.1.0');
  });
});

describe('a manifest', () => {
  it('with another digest is refused', async () => {
    const { model, proxy, loader, unharmed } = await serving();
    proxy.tamper = to(isManifest, { alter: (body) => Buffer.from(body.toString().replace('custom', 'sklearn')) });
    await model.activate('1.1.0');
    await failsAt(loader, '1.1.0', 'digest-mismatch');
    proxy.tamper = to(isManifest, { instead: { status: 200, body: '<html>Log in</html>' } });
    await model.reactivate('1.1.0');
    await until(() => proxy.requests.filter(isManifest).length === 3);
    await failsAt(loader, '1.1.0', 'digest-mismatch');
    await unharmed();
  });
});

describe('a version', () => {
  it('that answers a golden request wrongly is refused', async () => {
    const models: TestModel[] = [];
    const { model, loader, unharmed } = await serving({
      async hydrate(...args) {
        models.push(await hydrate(...args));
        return models.at(-1)!;
      },
      predict: ({ text }) => `${text}?`,
    });
    await model.activate('1.1.0');
    await failsAt(loader, '1.1.0', 'golden-mismatch');
    expect(loader.status().error!.message).toBe('golden request 0: output is "two?", not "two!"');
    await until(() => models[1]!.disposed);
    await unharmed();
  });

  it('whose requirements are not met is refused', async () => {
    const requires = { node: '>=99', npm: { 'no-such-package': '*' }, python: '~=2.7.0' };
    const { model, loader, unharmed } = await serving({}, { requires });
    await model.activate('1.1.0');
    await failsAt(loader, '1.1.0', 'runtime-mismatch');
    expect(loader.status().error!.message).toBe(
      `node >=99 wanted, ${process.versions.node} found; npm:no-such-package wanted, not installed`,
    );
    await unharmed();
  });

  it('whose hydrate throws is retried', async () => {
    let broken = true;
    const { model, loader, unharmed } = await serving({
      async hydrate(version, ...rest) {
        if (broken && version.version === '1.1.0') throw new RangeError('no memory');
        return hydrate(version, ...rest);
      },
    });
    await model.activate('1.1.0');
    await failsAt(loader, '1.1.0', 'hydrate-failed');
    expect(loader.status().error!.message).toBe('RangeError: no memory');
    await unharmed();
    broken = false;
    await serves(loader, '1.1.0');
  });

  it('whose hydrate hangs is retried, and a late model is disposed of', async () => {
    const late = Promise.withResolvers<TestModel>();
    let hangs = true;
    const { model, loader, unharmed } = await serving({
      loadTimeoutMs: 1_000,
      hydrate: (version, ...rest) => (hangs && version.version === '1.1.0' ? late.promise : hydrate(version, ...rest)),
    });
    await model.activate('1.1.0');
    await failsAt(loader, '1.1.0', 'load-timeout');
    await unharmed();
    hangs = false;
    await serves(loader, '1.1.0');
    const forgotten = { text: 'late', disposed: false };
    late.resolve(forgotten);
    await until(() => forgotten.disposed);
    expect(await loader.use(({ model }) => model.text)).toBe('two');
  });
});

describe('a cache', () => {
  it.skipIf(!canMount)('on a full disk is reported, and the version is loaded when there is room', async () => {
    // The cache's reserve and a little more.
    const disk = await smallDisk(257 * 1024);
    const { model, loader, unharmed } = await serving({ cacheDir: disk });
    const ballast = join(disk, 'ballast');
    await writeFile(ballast, Buffer.alloc(1024 * 1024));
    await model.activate('1.1.0');
    await failsAt(loader, '1.1.0', 'cache-full');
    await unharmed();
    await rm(ballast);
    await serves(loader, '1.1.0');
  });

  it('that was damaged is filled again, also while another loader fills it', async () => {
    const cacheDir = await temporaryFolder();
    const { model, proxy, loader } = await serving({ cacheDir });
    await model.publish('2.0.0', 'x'.repeat(300_000));
    const blobs = join(cacheDir, 'blobs/sha256');
    for (const name of await readdir(blobs)) await writeFile(join(blobs, name), 'damaged');
    const { token } = started();
    const others = await Promise.all(
      [1, 2].map(() => follow({ url: proxy.url, token }, { model: model.name, cacheDir })),
    );
    for (const other of others) {
      await serves(other, '1.0.0');
      expect(await other.use(({ model }) => model.text)).toBe('one');
    }
    await model.activate('2.0.0');
    for (const each of [loader, ...others]) {
      await serves(each, '2.0.0');
      expect(await each.use(({ model }) => model.text.length)).toBe(300_000);
    }
    expect((await readdir(join(cacheDir, 'versions'))).length).toBe(2);
  });

  it('with a small limit keeps the version that serves', async () => {
    const cacheDir = await temporaryFolder();
    const { model, loader } = await serving({ cacheDir, cacheBytes: 1 });
    await model.activate('1.1.0');
    await serves(loader, '1.1.0');
    await until(async () => (await readdir(join(cacheDir, 'versions'))).length === 1);
    await loader.close();
    const again = await follow(started(), { model: model.name, cacheDir, dsn: 'http://127.0.0.1:9' });
    expect((await again.ready()).model.text).toBe('two');
    expect(again.status()).toMatchObject({ stale: true, cache: { hits: 1, misses: 0 } });
  });
});

describe('an event stream', () => {
  it('that is not one does not prevent the start, and is followed as soon as it is one', async () => {
    const model = ownModel(started());
    await model.publish('1.0.0', 'one');
    await model.publish('1.1.0', 'two');
    await model.activate('1.0.0');
    const proxy = await startProxy(started().url);
    proxy.tamper = to(isStream, { instead: { status: 200, body: 'data: {"rubbish":\n\n', type: 'text/event-stream' } });
    const loader = await follow({ url: proxy.url, token: started().token }, { model: model.name });
    await serves(loader, '1.0.0');
    expect(proxy.requests.some(isPoll)).toBe(true);
    proxy.tamper = () => null;
    await until(() => proxy.requests.filter(isStream).some(({ status }) => status === 200));
    await model.activate('1.1.0');
    await serves(loader, '1.1.0');
    expect(loader.status().stale).toBe(false);
  });
});

describe('a registry that refuses reports', () => {
  it('does not stop the loader, which logs it once', async () => {
    const warnings: string[] = [];
    const log = { ...silent, warn: (_: object, message: string) => void warnings.push(message) };
    const { model, loader } = await serving({ token: await started().token('user'), log });
    await model.activate('1.1.0');
    await serves(loader, '1.1.0');
    await model.rollback();
    await serves(loader, '1.0.0');
    await loader.close();
    expect(warnings.filter((message) => message.includes('reports'))).toHaveLength(1);
    expect(served(loader)).toBe('1.0.0');
  });
});
