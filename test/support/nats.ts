import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { jetstreamManager, StorageType } from '@nats-io/jetstream';
import { onTestFinished } from 'vitest';
import { connectNats, connectOnce, type Nats } from '../../src/log/connection.ts';

/** The versions of nats-server that the tests run on. */
export const SERVERS = [
  { name: 'current', binary: () => process.env.NATS_SERVER_BIN! },
  { name: 'oldest supported', binary: () => process.env.NATS_SERVER_OLDEST! },
];

/** One nats-server of a test, or one node of its cluster. */
export interface TestServer {
  url: string;
  process(): ChildProcess;
  /** Sends SIGKILL and waits for the exit. */
  kill(): Promise<void>;
  /** Starts it again on the same port and store. */
  start(): Promise<void>;
}

/** Starts a nats-server with JetStream on a free port, until the test ends. */
export async function startNats(binary: string, settings = ''): Promise<TestServer> {
  const folder = await mkdtemp(join(tmpdir(), 'signalbox-nats-'));
  const port = await freePort();
  return server(binary, folder, port, settings);
}

/** Starts a cluster of three nats-servers, until the test ends. */
export async function startCluster(binary: string, tries = 3): Promise<TestServer[]> {
  const folder = await mkdtemp(join(tmpdir(), 'signalbox-cluster-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
  const ports = await Promise.all(Array.from({ length: 6 }, freePort));
  const routes = ports.slice(3).map((port) => `nats://127.0.0.1:${port}`);
  const servers = await Promise.all(
    ports.slice(0, 3).map((port, i) => {
      const cluster = `cluster { name: test, listen: "127.0.0.1:${ports[3 + i]}", routes: [${routes.join(', ')}] }`;
      return server(binary, join(folder, `n${i}`), port, cluster, `n${i}`);
    }),
  );
  await Promise.all(ports.slice(3).map(untilListening));
  // A node exits if its port was taken: outgoing connections of other tests use the same range.
  const running = servers.every((one) => one.process().exitCode === null);
  if (running && (await isComplete(servers))) return servers;
  await Promise.all(servers.map((one) => one.kill()));
  if (tries === 1) throw new Error('a node of the cluster did not join it');
  return startCluster(binary, tries - 1);
}

/**
 * Whether JetStream stores on all three nodes. If two nodes of 2.10 want to become its first leader at the same moment, one
 * may stay outside until it is restarted: in 5 of 71 starts of 2.10.29 on busy cores, and in none of 84 of 2.15.2.
 */
async function isComplete(servers: TestServer[]): Promise<boolean> {
  const nc = await connectOnce({ servers: servers.map(({ url }) => url) });
  // Before the first election a request is not answered, so a short time-out saves time.
  const jsm = await jetstreamManager(nc, { timeout: 1_000, checkAPI: false });
  const probe = { name: 'PROBE', subjects: ['probe'], storage: StorageType.Memory, num_replicas: 3 };
  const deadline = Date.now() + 15_000;
  try {
    while (Date.now() < deadline) {
      const stored = await jsm.streams.add(probe).catch(() => null);
      if (stored) return await jsm.streams.delete(probe.name);
      await sleep(250);
    }
    return false;
  } finally {
    await nc.close();
  }
}

/** Starts a nats-server without JetStream. */
export async function startPlainNats(binary: string): Promise<TestServer> {
  const folder = await mkdtemp(join(tmpdir(), 'signalbox-nats-'));
  return serverOn(binary, folder, await freePort(), '');
}

async function server(binary: string, folder: string, port: number, more: string, name = 'n'): Promise<TestServer> {
  const jetstream = `jetstream { store_dir: "${folder}", sync_interval: always }`;
  return serverOn(binary, folder, port, `server_name: ${name}\n${jetstream}\n${more}`);
}

async function serverOn(binary: string, folder: string, port: number, settings: string): Promise<TestServer> {
  await mkdir(folder, { recursive: true });
  const config = join(folder, 'nats.conf');
  await writeFile(config, `listen: "127.0.0.1:${port}"\n${settings}\n`);
  let child: ChildProcess;
  const start = async () => {
    child = spawn(binary, ['-c', config], { stdio: 'ignore' });
    await untilListening(port);
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

/** Opens a connection that is closed when the test ends. */
export async function connected(...servers: { url: string }[]): Promise<Nats> {
  const nats = await connectNats({ servers: servers.map(({ url }) => url) }, 'test');
  onTestFinished(() => nats.nc.close());
  return nats;
}

/** Returns a port of loopback on which nothing listens. */
export async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as { port: number };
  probe.close();
  await once(probe, 'close');
  return port;
}

async function untilListening(port: number): Promise<void> {
  for (let i = 0; i < 200 && !(await listens(port)); i++) await sleep(50);
}

async function listens(port: number): Promise<boolean> {
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

/** Starts a server that greets like nats-server of that version, answers pings and records what it receives. */
export async function fakeServer(version: string, received: string[] = []): Promise<string> {
  const server = createServer((socket) => {
    const info = { server_id: 'F', version, proto: 1, headers: true, max_payload: 1_048_576, jetstream: true };
    received.push('connected');
    socket.on('error', () => {});
    socket.write(`INFO ${JSON.stringify(info)}\r\n`);
    socket.on('data', (data) => {
      received.push(data.toString());
      if (data.includes('PING')) socket.write('PONG\r\n');
    });
  }).listen(0, '127.0.0.1');
  onTestFinished(() => void server.close());
  await once(server, 'listening');
  return `nats://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
