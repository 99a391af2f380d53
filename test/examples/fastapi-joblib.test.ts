import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, expect, it, onTestFinished } from 'vitest';
import { emptyProgram, until } from '../program/support.ts';
import { temporaryFolder } from '../support/folder.ts';
import { cli, type Program } from '../support/program.ts';
import { pythonWith } from '../support/python.ts';
import {
  converged,
  copyExample,
  filesOf,
  fleetOf,
  goldenOf,
  post,
  publishAs,
  ROOT,
  requests,
  run,
  type Service,
  SLOW,
  signalbox,
  startService,
  withWrongGolden,
} from './support.ts';

const WINE = ['-m', 'wine'];
const PRODUCTION = [...WINE, '--env', 'production', '--wait'];
let example: string;
let python: string;
let client: string;

/** The example, its requirements, and the client as pip installs it. */
beforeAll(async () => {
  const undo: (() => Promise<void>)[] = [];
  const folder = await temporaryFolder((step) => undo.push(step));
  example = await copyExample('fastapi-joblib', join(folder, 'fastapi-joblib'));
  const required = await readFile(join(example, 'requirements.txt'), 'utf8');
  // The client changes more often than the cached environment, which has only its dependencies and build tools.
  const others = required.replace('../../clients/python', 'httpx==0.28.1\nPyYAML==6.0.4\nhatchling==1.33.0');
  expect(others).not.toEqual(required);
  await writeFile(join(folder, 'requirements.txt'), others);
  python = await pythonWith(join(folder, 'requirements.txt'));
  client = join(folder, 'client');
  const offline = ['--no-index', '--no-deps', '--no-build-isolation', '--quiet'];
  await run(python, ['-m', 'pip', 'install', ...offline, '--target', client, join(ROOT, 'clients/python')], folder);
  return async () => {
    for (const step of undo) await step();
  };
}, 20 * 60_000);

it('follows activations and rollbacks without a failed request', SLOW, async () => {
  const program = await registry();
  await signalbox(program, 'activate', '1.0.0', ...PRODUCTION);
  const service = await start(program);
  const traffic = requests(await checked(program, service));
  await traffic.sees('1.0.0');
  expect(await signalbox(program, 'activate', '1.1.0', ...PRODUCTION)).toContain('2 of 2 loaders on 1.1.0');
  await traffic.sees('1.1.0');
  await until(() => swapsLogged(service) === 2); // by each worker
  const { loaders, environments } = await fleetOf(program, 'wine');
  expect(environments.production).toMatchObject({ active: '1.1.0', total: 2, converged: 2, failed: 0 });
  expect(loaders.map(({ runtime }) => runtime)).toEqual(
    Array(2).fill({ python: expect.stringMatching(/^3\./), packages: { joblib: '1.6.0', 'scikit-learn': '1.9.1' } }),
  );
  await signalbox(program, 'rollback', ...PRODUCTION, '--reason', 'recall dropped', '--yes');
  await traffic.sees('1.0.0');
  expect(await traffic.stop()).toEqual([]);
  await service.stop();
  await until(async () => (await fleetOf(program, 'wine')).loaders.length === 0, 60_000);
});

it('keeps serving when a version fails its golden requests or needs another runtime', SLOW, async () => {
  const program = await registry();
  const files = await filesOf(program, 'wine', '1.1.0');
  await publishAs(program, 'wine', { version: '1.2.0' }, withWrongGolden(files));
  await publishAs(program, 'wine', { version: '1.3.0', requires: { packages: { 'scikit-learn': '<1' } } }, files);
  await signalbox(program, 'activate', '1.0.0', ...PRODUCTION);
  const service = await start(program);
  const traffic = requests(await checked(program, service));
  for (const [version, code, reason] of [
    ['1.2.0', 'golden-mismatch', 'olden request 0'],
    ['1.3.0', 'runtime-mismatch', 'scikit-learn <1 wanted, 1.9.1 found'],
  ] as const) {
    const activation = await cli(program, 'activate', version, ...PRODUCTION);
    expect([activation.code, activation.stderr]).toEqual([6, expect.stringContaining(reason)]);
    const failed = { state: 'failed', current: { version: '1.0.0' }, target: { version }, error: { code } };
    expect((await fleetOf(program, 'wine')).loaders).toMatchObject([failed, failed]);
    await traffic.sees('1.0.0');
    await signalbox(program, 'rollback', ...PRODUCTION, '--reason', 'it is worse', '--yes');
  }
  expect(await traffic.stop()).toEqual([]);
});

function swapsLogged(service: Service): number {
  return service.output().match(/\] wine 1\.1\.0 serves in place of 1\.0\.0 \(revision \d/g)?.length ?? 0;
}

/** A registry with both versions of the model `wine`. */
async function registry(): Promise<Program> {
  const program = await emptyProgram(onTestFinished);
  await run(python, ['train.py'], example, variables(program));
  return program;
}

function variables({ url, volume }: Program): Record<string, string> {
  return { REGISTRY_DSN: url, REGISTRY_VOLUME: volume, PYTHONPATH: client, PYTHONDONTWRITEBYTECODE: '1' };
}

/** Two worker processes on one port, both serving the active version. */
async function start(program: Program): Promise<Service> {
  const env = { ...variables(program), MANIFEST_CACHE_DIR: await temporaryFolder() };
  const args = ['-m', 'uvicorn', 'main:app', '--workers', '2', '--port', '0'];
  const service = await startService(python, args, example, env);
  await converged(program, 'wine', 2);
  return service;
}

/** Requests predictions; every answer must be that of one version. */
async function checked(program: Program, { url }: Service): Promise<() => Promise<string>> {
  const known = new Map<string, unknown>();
  let rows: number[][] = [];
  for (const version of ['1.0.0', '1.1.0']) {
    const { input, output } = goldenOf(await filesOf(program, 'wine', version)).requests[0]!;
    rows = input;
    const probabilities = (output as number[][]).map((row) => row.map((number) => expect.closeTo(number, 5)));
    known.set(version, probabilities);
  }
  return async () => {
    const { version, probabilities } = await post(`${url}/predict`, { rows });
    expect(probabilities).toEqual(known.get(version));
    return version;
  };
}
