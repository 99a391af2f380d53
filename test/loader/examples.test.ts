import { chmod, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, expect, it, onTestFinished, vi } from 'vitest';
import { type Loader, NotReady, startLoader, UnsafeCacheFolder } from '../../src/loader/index.ts';
import { emptyProgram, shared } from '../program/support.ts';
import { temporaryFolder } from '../support/folder.ts';
import { type OwnModel, ownModel, silent } from './support.ts';

// Every `@example` of the loader is extracted from its source file and run against a real registry.

const SOURCE = join(import.meta.dirname, '../../src/loader');
const started = shared(emptyProgram);
let model: OwnModel;

/** The code of each example, by the name of what it documents. */
const examples = new Map<string, string>();
const EXAMPLE =
  /^ *\/\*\*(?:(?!\*\/).)*?@example\n((?:(?!\*\/).)*?)\n *\*\/\n *(?:export )?(?:async )?(?:function |class |interface )?(\w+)/gms;

beforeAll(async () => {
  for (const name of (await readdir(SOURCE)).filter((name) => name.endsWith('.ts'))) {
    const text = await readFile(join(SOURCE, name), 'utf8');
    for (const [, code, subject] of text.matchAll(EXAMPLE)) examples.set(subject!, code!.replace(/^ *\* ?/gm, ''));
  }
  model = ownModel(started(), 'greetings');
  await model.publish('1.0.0', 'Hello', { 'index.bin': 'index' });
  await model.activate('1.0.0');
});

/** Runs an example in which these names are defined; returns the value of `result`. */
async function run(subject: string, names: object, result = 'undefined'): Promise<unknown> {
  const AsyncFunction = Object.getPrototypeOf(async () => {}).constructor;
  const scope = { startLoader, readFile, NotReady, UnsafeCacheFolder, ...names };
  const code = `${examples.get(subject)}\nreturn ${result};`;
  return new AsyncFunction(...Object.keys(scope), code)(...Object.values(scope));
}

async function variables(more: Record<string, string> = {}): Promise<void> {
  const values = {
    REGISTRY_DSN: started().url,
    REGISTRY_TOKEN: await started().token(),
    REGISTRY_MODEL: model.name,
    MANIFEST_CACHE_DIR: await temporaryFolder(),
    ...more,
  };
  for (const [name, value] of Object.entries(values)) vi.stubEnv(name, value);
  onTestFinished(() => void vi.unstubAllEnvs());
}

/** A loader whose model doubles a number. */
async function follow(): Promise<Loader<{ predict(row: number): number }>> {
  await variables();
  const loader = await startLoader({ log: silent, hydrate: () => ({ predict: (row: number) => 2 * row }) });
  onTestFinished(() => loader.close());
  return loader;
}

it('finds the examples', () => {
  const subjects = ['startLoader', 'ready', 'lease', 'use', 'status', 'close'];
  const types = ['DeriveOptions', 'Files', 'NotReady', 'UnsafeCacheFolder'];
  expect([...examples.keys()].sort()).toEqual([...subjects, ...types].sort());
});

it('startLoader', async () => {
  await variables();
  expect(await run('startLoader', {}, 'greeting')).toBe('Hello, world');
});

it('Loader', async () => {
  const loader = await follow();
  const names = { loader, row: 21 };
  expect(await run('ready', names, 'version')).toBe('1.0.0');
  expect(await run('lease', names)).toBe(42);
  expect(await run('use', names, 'answer')).toEqual({ version: '1.0.0', score: 42 });
  expect(await run('status', names, '[state, current.version, stale, error]')).toEqual(['ready', '1.0.0', false, null]);
  const handlers = new Map<string, () => Promise<void>>();
  await run('close', { loader, process: { once: handlers.set.bind(handlers) } });
  await handlers.get('SIGTERM')!();
  expect(loader.status().state).toBe('stopped');
});

it('Files', async () => {
  await variables();
  const loader = (await run('Files', {}, 'loader')) as Loader<string>;
  onTestFinished(() => loader.close());
  expect((await loader.ready()).model).toBe('Hello');
});

it('DeriveOptions', async () => {
  const loader = await follow();
  await loader.ready();
  const index = (await run('DeriveOptions', { loader }, 'index')) as Buffer;
  expect(index.toString()).toBe('index');
  await loader.close();
  expect(index).toEqual(Buffer.alloc(5));
});

it('NotReady', async () => {
  const loader = await follow();
  await loader.ready();
  expect(await run('NotReady', { loader, row: 21 })).toBe(42);
  await loader.close();
  const response = (await run('NotReady', { loader, row: 21 })) as Response;
  expect([response.status, await response.text()]).toEqual([503, 'No version serves yet: the loader is closed.']);
});

it('UnsafeCacheFolder', async () => {
  await variables();
  const cacheDir = await temporaryFolder();
  await chmod(cacheDir, 0o777);
  const console = { error: vi.fn() };
  const options = { cacheDir, hydrate: () => null };
  await expect(run('UnsafeCacheFolder', { options, console })).rejects.toBeInstanceOf(UnsafeCacheFolder);
  expect(console.error).toHaveBeenCalledWith(expect.stringContaining(cacheDir));
});
