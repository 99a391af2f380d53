import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { describe, expect, it, onTestFinished } from 'vitest';
import { isNodeTooOld, MINIMUM_NODE } from '../../src/node-version.ts';
import { cliWith, MAIN, startProgram } from '../support/program.ts';
import { natsServersOf, until, volumeFolder } from './support.ts';

const ROOT = join(import.meta.dirname, '../..');

describe('npm start', { timeout: 90_000 }, () => {
  it('ends with Node and nats-server when npm gets SIGTERM', async () => {
    const volume = await volumeFolder();
    const { npm, pid } = await npmStart(volume);
    expect(await natsServersOf(volume)).toHaveLength(1);
    const ended = once(npm, 'exit');
    npm.kill('SIGTERM');
    await ended;
    await until(async () => !isAlive(pid) && (await natsServersOf(volume)).length === 0);
  });
});

it('prints the REGISTRY_DSN for a port other than the default', async () => {
  const { url, lines } = await startProgram(await volumeFolder(), { REGISTRY_DISCOVERY: 'off', REGISTRY_DSN: '' });
  await until(() => lines.includes(`To use the command line with this registry: export REGISTRY_DSN=${url}`));
});

describe('an old Node', () => {
  it.each([
    ['18.20.8', true],
    ['20.20.2', true],
    ['22.17.1', true],
    ['22.18.0', true],
    ['24.14.1', true],
    ['24.15.0', false],
    ['26.0.0', false],
  ])('%s: too old is %s', (version, tooOld) => expect(isNodeTooOld(version)).toBe(tooOld));

  it('gets one sentence, before any module that it cannot parse is loaded', async () => {
    const claim = `data:text/javascript,Object.defineProperty(process.versions,'node',{value:'20.20.2'})`;
    const { code, stderr } = await new Promise<{ code: unknown; stderr: string }>((resolve) => {
      execFile(process.execPath, ['--import', claim, MAIN, 'list'], (error, _, stderr) =>
        resolve({ code: error?.code, stderr }),
      );
    });
    expect([code, stderr]).toEqual([
      1,
      expect.stringMatching(/^signalbox: Node 20\.20\.2 .* needs Node 24\.15\.0.*\n$/),
    ]);
    const imports = (await readFile(MAIN, 'utf8')).matchAll(/^import .* from '(.*)'/gm);
    expect(Array.from(imports, ([, from]) => from)).toEqual(['../node-version.ts']);
    expect(await readFile(join(MAIN, '../../node-version.ts'), 'utf8')).not.toMatch(/^import/m);
  });

  it('has the limit that package.json states', async () => {
    const { engines } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8'));
    expect(`${engines.node}.0`).toBe(`>=${MINIMUM_NODE}`);
  });
});

/** Runs `npm start` in this clone. The refusal of a second server gives the process id of the first. */
async function npmStart(volume: string): Promise<{ npm: ChildProcess; pid: number }> {
  const variables = { PORT: '0', NATS_URL: '', REGISTRY_VOLUME: volume, REGISTRY_DISCOVERY: 'off' };
  const npm = spawn('npm', ['start'], {
    cwd: ROOT,
    env: { ...process.env, ...variables },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  onTestFinished(() => void npm.kill('SIGKILL'));
  for await (const line of createInterface(npm.stderr!)) if (line.startsWith('Signalbox serves on')) break;
  npm.stderr!.resume();
  const { stderr } = await cliWith(variables, 'serve');
  const pid = Number(/\(process (\d+)\)/.exec(stderr)?.[1]);
  expect(pid).toBeGreaterThan(0);
  onTestFinished(() => {
    if (isAlive(pid)) process.kill(pid, 'SIGKILL');
  });
  return { npm, pid };
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
