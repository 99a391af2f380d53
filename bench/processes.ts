import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { readSecret } from '../src/access/secret.ts';
import { signToken } from '../src/access/tokens.ts';

const root = join(import.meta.dirname, '..');

export interface Running {
  url: string;
  process: ChildProcess;
  stop(): Promise<void>;
}

/** Starts a program of this repository and waits until it prints its address. */
export async function run(file: string, args: string[], env: NodeJS.ProcessEnv = {}): Promise<Running> {
  const child = spawn(process.execPath, [join(root, file), ...args], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
  const url = await new Promise<string>((resolve, reject) => {
    for (const stream of [child.stdout, child.stderr]) {
      createInterface(stream!).on('line', (line) => {
        const found = /^(?:Signalbox serves on )?(http:\S+)/.exec(line)?.[1];
        if (found) resolve(found);
      });
    }
    child.once('exit', (code) => reject(new Error(`${file} ended with ${code}`)));
  });
  const stop = async () => {
    child.kill('SIGTERM');
    await once(child, 'exit');
  };
  return { url, process: child, stop };
}

export interface Registry extends Running {
  volume: string;
  headers: Record<string, string>;
  secret: Uint8Array;
}

/** Starts a registry in a new folder; `headers` has a token for it. */
export async function startRegistry(env: NodeJS.ProcessEnv = {}, main = 'dist/cli/main.js'): Promise<Registry> {
  const volume = await temporaryFolder();
  const files = { REGISTRY_VOLUME: volume, REGISTRY_HISTORY_FILE: `${volume}/history.log` };
  const limits = { REGISTRY_ACTIVATION_LIMIT: '0', REGISTRY_COMMAND_LIMIT: '0', REGISTRY_RATE_LIMIT: '100000000' };
  const running = await run(main, ['serve'], { PORT: '0', ...files, ...limits, ...env });
  const secret = (await readSecret(volume))!;
  const token = await signToken(secret, { actor: 'bench', role: 'admin' }, 3600, new Date());
  const stop = async () => {
    await running.stop();
    await rm(volume, { recursive: true });
  };
  return { ...running, volume, secret, headers: { Authorization: `Bearer ${token}` }, stop };
}

export function temporaryFolder(): Promise<string> {
  return mkdtemp(join(process.env.BENCH_FOLDER ?? tmpdir(), 'signalbox-bench-'));
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** Publishes the two sample versions. */
export async function publishSamples(registry: Registry): Promise<void> {
  for (const version of ['1.0.0', '1.1.0']) {
    await publishVersion(registry, version, join(root, 'registry/versions', version));
  }
}

export async function publishVersion(registry: Registry, version: string, folder: string): Promise<void> {
  const env = { ...process.env, REGISTRY_DSN: registry.url, REGISTRY_VOLUME: registry.volume };
  const args = [join(root, 'dist/cli/main.js'), 'publish', folder, '--version', version];
  const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'ignore', 'inherit'] });
  const [code] = await once(child, 'exit');
  if (code !== 0) throw new Error(`publish ended with ${code}`);
}

export function median(values: number[]): number {
  return quantile(values, 0.5);
}

export function quantile(values: number[], share: number): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length * share)]!;
}
