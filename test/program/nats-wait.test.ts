import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { expect, it, onTestFinished } from 'vitest';
import { SERVERS, startNats, startPlainNats } from '../support/nats.ts';
import { ELSEWHERE, MAIN } from '../support/program.ts';
import { until, volumeFolder } from './support.ts';

/** Starts a registry, and returns the lines of its standard error. */
async function starting(NATS_URL: string): Promise<string[]> {
  const variables = { PORT: '0', REGISTRY_VOLUME: await volumeFolder(), REGISTRY_DISCOVERY: 'off', NATS_URL };
  const stdio: ['ignore', 'ignore', 'pipe'] = ['ignore', 'ignore', 'pipe'];
  const child = spawn(process.execPath, [MAIN, 'serve'], {
    cwd: ELSEWHERE,
    env: { ...process.env, ...variables },
    stdio,
  });
  const ended = once(child, 'exit');
  onTestFinished(async () => {
    child.kill('SIGTERM');
    await ended;
  });
  const lines: string[] = [];
  createInterface(child.stderr).on('line', (line) => lines.push(line));
  return lines;
}

const { binary } = SERVERS[0]!;

it('a start reports that it waits for NATS, then the reason and a remedy, and continues when NATS is available', async () => {
  const server = await startNats(binary());
  await server.kill();
  const lines = await starting(server.url.replace('nats://', 'nats://ana:topsecret@'));
  const printed = (text: string) => lines.some((line) => line.includes(text));
  await until(() => printed(`Connecting to NATS at ${server.url}`));
  await until(() => printed(`NATS cannot be reached at ${server.url}: nothing listens there (ECONNREFUSED). Start`));
  expect(lines.join('\n')).not.toContain('topsecret');
  await server.start();
  await until(() => printed('Signalbox serves on'));
}, 90_000);

it('reports that JetStream does not answer', async () => {
  const server = await startPlainNats(binary());
  const lines = await starting(server.url);
  await until(() => lines.some((line) => line.startsWith(`NATS answers at ${server.url}, but JetStream does not`)));
}, 60_000);
