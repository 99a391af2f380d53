import { readFile } from 'node:fs/promises';
import { expect, onTestFinished } from 'vitest';
import { type Loader, type LoaderOptions, startLoader } from '../../src/loader/index.ts';
import { type Files, ok, send, until, versionForm } from '../program/support.ts';
import { temporaryFolder } from '../support/folder.ts';
import type { Program } from '../support/program.ts';

/** What a test's version is loaded as: the text of its model file, and whether it was let go. */
export interface TestModel {
  text: string;
  disposed: boolean;
}

export const silent = { debug() {}, info() {}, warn() {}, error() {} };

export const hydrate: LoaderOptions<TestModel>['hydrate'] = async (_version, files) => ({
  text: await readFile(files.path('model.txt'), 'utf8'),
  disposed: false,
});

/** Where a loader finds its registry, or what stands before it. */
export type Registry = Pick<Program, 'url' | 'token'>;

/** A loader of its own cache folder, closed when the test ends. */
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

/** A model of the test's own, in production where nothing else is said. */
export interface OwnModel {
  name: string;
  publish(version: string, text: string, files?: Files, more?: object): Promise<void>;
  activate(version: string, environment?: string): Promise<{ revision: number }>;
  rollback(): Promise<void>;
  deactivate(): Promise<void>;
  /** Another move to the version that is active: it is taken out and put in again. */
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

/** Publishes a version of the model that has no other name. */
export function publishText(program: Program, version: string, text: string, files: Files = {}): Promise<void> {
  return ownModel(program, 'default').publish(version, text, files);
}

export function served(loader: Loader<TestModel>): string | null {
  return loader.status().current?.version ?? null;
}

export async function serves(loader: Loader<TestModel>, version: string, withinMs?: number): Promise<void> {
  await until(() => served(loader) === version && loader.status().state === 'ready', withinMs);
}

/** Waits until the loader has failed at a version, which it does not serve. */
export async function failsAt(loader: Loader<TestModel>, version: string, code: string): Promise<void> {
  await until(() => {
    const { error, target } = loader.status();
    return error?.code === code && target?.version === version;
  });
  expect(served(loader)).not.toBe(version);
}
