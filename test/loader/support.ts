import { readFile } from 'node:fs/promises';
import { expect, onTestFinished } from 'vitest';
import { type Loader, type LoaderOptions, startLoader } from '../../src/loader/index.ts';
import { type Files, ok, send, until, versionForm } from '../program/support.ts';
import { temporaryFolder } from '../support/folder.ts';
import type { Program } from '../support/program.ts';

/** The model of a test's version: the text of its file, and whether it was disposed of. */
export interface TestModel {
  text: string;
  disposed: boolean;
}

export const silent = { debug() {}, info() {}, warn() {}, error() {} };

export const hydrate: LoaderOptions<TestModel>['hydrate'] = async (_version, files) => ({
  text: await readFile(files.path('model.txt'), 'utf8'),
  disposed: false,
});

/** The registry that a loader uses, or a proxy in front of it. */
export type Registry = Pick<Program, 'url' | 'token'>;

/** Starts a loader with a new cache folder; it is closed when the test ends. */
export async function follow(
  registry: Registry,
  options: Partial<LoaderOptions<TestModel>> = {},
): Promise<Loader<TestModel>> {
  const loader = await startLoader<TestModel>({
    dsn: registry.url,
    token: await registry.token(),
    cacheDir: await temporaryFolder(),
    log: silent,
    hydrate,
    dispose: (model) => {
      model.disposed = true;
    },
    ...options,
  });
  onTestFinished(() => loader.close());
  return loader;
}

/** A model for one test. The default environment is production. */
export interface OwnModel {
  name: string;
  publish(version: string, text: string, files?: Files, more?: object): Promise<void>;
  activate(version: string, environment?: string): Promise<{ revision: number }>;
  rollback(): Promise<void>;
  deactivate(): Promise<void>;
  /** Deactivates and activates the version that is active. */
  reactivate(version: string): Promise<void>;
}

let count = 0;

export function ownModel(program: Program, name = `model-${++count}`): OwnModel {
  const base = `/api/models/${name}`;
  const own: OwnModel = {
    name,
    async publish(version, text, files = {}, more = {}) {
      const form = versionForm({ version, ...more }, { 'model.txt': text, ...files });
      const response = await send(program, 'POST', `${base}/versions`, form);
      expect(response.status, await response.text()).toBe(201);
    },
    activate: (version, environment = 'production') =>
      ok(program, 'POST', `${base}/versions/${version}/activate`, { environment }),
    rollback: () => ok(program, 'POST', `${base}/rollback`, { reason: 'worse' }),
    deactivate: () => ok(program, 'POST', `${base}/deactivate`, { reason: 'out' }),
    async reactivate(version) {
      await own.deactivate();
      await own.activate(version);
    },
  };
  return own;
}

/** Publishes a version of the model `default`. */
export function publishText(program: Program, version: string, text: string, files: Files = {}): Promise<void> {
  return ownModel(program, 'default').publish(version, text, files);
}

export function served(loader: Loader<TestModel>): string | null {
  return loader.status().current?.version ?? null;
}

export async function serves(loader: Loader<TestModel>, version: string, withinMs?: number): Promise<void> {
  await until(() => served(loader) === version && loader.status().state === 'ready', withinMs);
}

/** Waits until the loader has failed to load a version. */
export async function failsAt(loader: Loader<TestModel>, version: string, code: string): Promise<void> {
  await until(() => {
    const { error, target } = loader.status();
    return error?.code === code && target?.version === version;
  });
  expect(served(loader)).not.toBe(version);
}
