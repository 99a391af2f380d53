import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { describe, expect, it, onTestFinished } from 'vitest';
import { cliWith } from '../support/program.ts';
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

/** Runs `npm start` of this clone, and learns the process that serves from the refusal of a second one. */
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
