import { cp, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, expect, it, onTestFinished } from 'vitest';
import { emptyProgram, until } from '../program/support.ts';
import { temporaryFolder } from '../support/folder.ts';
import { cli, type Program } from '../support/program.ts';
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

const SONGS = ['-m', 'songs'];
const PRODUCTION = [...SONGS, '--env', 'production', '--wait'];
let example: string;

/** The example with its npm packages, Signalbox as npm installs it, and generated models. */
beforeAll(async () => {
  const undo: (() => Promise<void>)[] = [];
  const folder = await temporaryFolder((step) => undo.push(step));
  example = await copyExample('node-onnx', join(folder, 'node-onnx'));
  const quiet = ['--no-audit', '--no-fund', '--prefer-offline', '--loglevel=error'];
  await run('npm', ['install', ...quiet, await packed(folder)], example);
  await run('npm', ['run', 'make-models'], example);
  return async () => {
    for (const step of undo) await step();
  };
}, 10 * 60_000);

/** Packs Signalbox as npm would publish it: only the listed files. */
async function packed(folder: string): Promise<string> {
  const source = join(folder, 'signalbox');
  await mkdir(source);
  for (const name of ['package.json', 'README.md', 'LICENSE']) await cp(join(ROOT, name), join(source, name));
  await run(join(ROOT, 'node_modules/.bin/tsc'), ['-p', 'tsconfig.build.json', '--outDir', join(source, 'dist')], ROOT);
  const name = await run('npm', ['pack', '--ignore-scripts', '--silent', '--pack-destination', folder], source);
  return join(folder, name.trim());
}

it('follows activations and rollbacks without a failed request', SLOW, async () => {
  const program = await registry();
  await signalbox(program, 'activate', '1.0.0', ...PRODUCTION);
  const service = await start(program);
  const traffic = requests(await checked(program, service));
  await traffic.sees('1.0.0');
  expect(await signalbox(program, 'activate', '1.1.0', ...PRODUCTION)).toContain('1 of 1 loaders on 1.1.0');
  await traffic.sees('1.1.0');
  await until(() => /"version":"1\.1\.0".*"previous":"1\.0\.0".*"a version serves"/.test(service.output()));
  expect(await fleetOf(program, 'songs')).toMatchObject({
    loaders: [{ pid: service.pid, state: 'ready', current: { version: '1.1.0' } }],
    environments: { production: { active: '1.1.0', total: 1, converged: 1, failed: 0 } },
  });
  await expect(post(`${service.url}/score`, { rows: [[1, 2]] })).rejects.toThrow(/^400/);
  expect(await (await fetch(`${service.url}/healthz`)).json()).toMatchObject({ current: { version: '1.1.0' } });
  await signalbox(program, 'rollback', ...PRODUCTION, '--reason', 'fewer listens', '--yes');
  await traffic.sees('1.0.0');
  expect(await traffic.stop()).toEqual([]);
  expect(await service.stop()).toBe(0);
  expect((await fleetOf(program, 'songs')).loaders).toEqual([]);
});

it('keeps serving when a version fails its golden requests or needs another runtime', SLOW, async () => {
  const program = await registry();
  const files = await filesOf(program, 'songs', '1.1.0');
  await publishAs(program, 'songs', { version: '1.2.0' }, withWrongGolden(files));
  const npm = { 'onnxruntime-node': '>=99' };
  await publishAs(program, 'songs', { version: '1.3.0', requires: { npm } }, files);
  await signalbox(program, 'activate', '1.0.0', ...PRODUCTION);
  const service = await start(program);
  const traffic = requests(await checked(program, service));
  for (const [version, code, reason] of [
    ['1.2.0', 'golden-mismatch', 'golden request 0: output[0] is'],
    ['1.3.0', 'runtime-mismatch', 'npm:onnxruntime-node >=99 wanted, 1.30.0 found'],
  ] as const) {
    const activation = await cli(program, 'activate', version, ...PRODUCTION);
    expect([activation.code, activation.stderr]).toEqual([6, expect.stringContaining(reason)]);
    expect((await fleetOf(program, 'songs')).loaders).toMatchObject([
      { state: 'failed', current: { version: '1.0.0' }, target: { version }, error: { code } },
    ]);
    await traffic.sees('1.0.0');
    await signalbox(program, 'rollback', ...PRODUCTION, '--reason', 'it is worse', '--yes');
  }
  expect(await traffic.stop()).toEqual([]);
});

it('has no type errors', SLOW, async () => {
  await run('npm', ['run', 'types'], example);
});

/** A registry with both versions of the model `songs`. */
async function registry(): Promise<Program> {
  const program = await emptyProgram(onTestFinished);
  for (const version of ['1.0.0', '1.1.0']) {
    await signalbox(program, 'publish', join(example, 'versions', version), '--version', version, ...SONGS);
  }
  return program;
}

async function start(program: Program): Promise<Service> {
  const env = {
    PORT: '0',
    REGISTRY_DSN: program.url,
    REGISTRY_VOLUME: program.volume,
    MANIFEST_CACHE_DIR: await temporaryFolder(),
    INDEX_TTL_MS: '2000',
  };
  const service = await startService(process.execPath, ['main.ts'], example, env);
  await converged(program, 'songs', 1);
  return service;
}

/** Requests a song's score and similar songs in turn; every answer must be that of one version. */
async function checked(program: Program, { url }: Service): Promise<(turn: number) => Promise<string>> {
  const scores: Record<string, number[]> = {};
  let rows: number[][] = [];
  for (const version of ['1.0.0', '1.1.0']) {
    const { input, output } = goldenOf(await filesOf(program, 'songs', version)).requests[0]!;
    rows = input;
    scores[version] = output as number[];
  }
  return async (turn) => {
    const i = turn % rows.length;
    const row = rows[i]!;
    if (turn % 2 === 0) {
      const { version, scores: answered } = await post(`${url}/score`, { rows: [row] });
      expect(answered[0]).toBeCloseTo(scores[version]![i]!, 4);
      return version;
    }
    // A song has distance 0 to itself if encoder and index are of the same version.
    const { version, songs } = await post(`${url}/similar`, { row, count: 1 });
    expect(songs).toEqual([{ id: `song-${i + 1}`, distance: expect.closeTo(0, 4) }]);
    return version;
  };
}
