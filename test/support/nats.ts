import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { onTestFinished } from 'vitest';
import { connectNats, type Nats } from '../../src/log/connection.ts';

/** The nats-servers that every contract is tested on. */
export const SERVERS = [
  { name: 'current', binary: () => process.env.NATS_SERVER_BIN! },
  { name: 'oldest supported', binary: () => process.env.NATS_SERVER_OLDEST! },
];

/** One nats-server of a test, or one node of its cluster. */
export interface TestServer {
  url: string;
  process(): ChildProcess;
  /** SIGKILL, and waits for its end. */
  kill(): Promise<void>;
  /** Starts it again on the same port and store. */
  start(): Promise<void>;
}

/** A nats-server with JetStream on a free port; it ends with the test. */
export async function startNats(binary: string): Promise<TestServer> {
  const folder = await mkdtemp(join(tmpdir(), 'signalbox-nats-'));
  const port = await freePort();
  return server(binary, folder, port, '');
}

/** Three nats-servers as one cluster. */
export async function startCluster(binary: string): Promise<TestServer[]> {
  const folder = await mkdtemp(join(tmpdir(), 'signalbox-cluster-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
  const ports = await Promise.all(Array.from({ length: 6 }, freePort));
  const routes = ports.slice(3).map((port) => `nats://127.0.0.1:${port}`);
  return Promise.all(
    ports.slice(0, 3).map((port, i) => {
      const cluster = `cluster { name: test, listen: "127.0.0.1:${ports[3 + i]}", routes: [${routes.join(', ')}] }`;
      return server(binary, join(folder, `n${i}`), port, cluster, `n${i}`);
    }),
  );
}

async function server(binary: string, folder: string, port: number, more: string, name = 'n'): Promise<TestServer> {
  await mkdir(folder, { recursive: true });
  const config = join(folder, 'nats.conf');
  await writeFile(
    config,
    `server_name: ${name}\nlisten: "127.0.0.1:${port}"\njetstream { store_dir: "${folder}", sync_interval: always }\n${more}\n`,
  );
  let child: ChildProcess;
  const start = async () => {
    child = spawn(binary, ['-c', config], { stdio: 'ignore' });
    for (let i = 0; i < 200 && !(await listens(port)); i++) await sleep(50);
  };
  const kill = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  };
  await start();
  onTestFinished(async () => {
    await kill();
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  });
  return { url: `nats://127.0.0.1:${port}`, process: () => child, kill, start };
}

/** A connection that is closed when the test ends. */
export async function connected(...servers: { url: string }[]): Promise<Nats> {
  const nats = await connectNats({ servers: servers.map(({ url }) => url) }, 'test');
  onTestFinished(() => nats.nc.close());
  return nats;
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as { port: number };
  probe.close();
  await once(probe, 'close');
  return port;
}

async function listens(port: number): Promise<boolean> {
  const { connect } = await import('node:net');
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
