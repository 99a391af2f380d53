import { once } from 'node:events';
import { connect } from 'node:net';
import { join } from 'node:path';
import { poster } from './load.ts';
import { publishSamples, quantile, type Running, run, startRegistry } from './processes.ts';
import type { Result } from './result.ts';

const FOLLOWERS = 1_000;
const ROUNDS = 40;
const WARM_UP = 10;
const MAX_MS = 150;
const MAX_HEAP = 6_000;

/** Measures how long an activation takes to reach 99 % of 1,000 followers of one server, and the heap per follower. */
export async function followers(): Promise<Result[]> {
  const env = { NODE_OPTIONS: `--import=${join(import.meta.dirname, 'heap.ts')}` };
  const registry = await startRegistry(env);
  await publishSamples(registry);
  const path = (round: number) => `/api/models/default/versions/1.${Math.abs(round) % 2}.0/activate`;
  const ours = await crowd(registry, registry.headers, path);
  const bareServer = await run('bench/bare-stream.ts', [], env);
  const bare = await crowd(bareServer, {}, () => '/');
  const times = { ours: [] as number[], bare: [] as number[] };
  for (let round = -WARM_UP; round < ROUNDS; round++) {
    const delays = { bare: await bare.measure(round), ours: await ours.measure(round) };
    if (round < 0) continue;
    times.ours.push(...delays.ours);
    times.bare.push(...delays.bare);
  }
  ours.end();
  bare.end();
  await Promise.all([registry.stop(), bareServer.stop()]);
  const ms = (values: number[]) =>
    `${quantile(values, 0.99).toFixed(0)} ms (median ${quantile(values, 0.5).toFixed(0)})`;
  const kB = (bytes: number) => `${(bytes / 1000).toFixed(1)} kB`;
  return [
    {
      name: `activation sent → known to 1,000 followers over SSE, p99 / ${MAX_MS} ms`,
      ratio: quantile(times.ours, 0.99) / MAX_MS,
      aim: '≤ 1',
      detail: `${ms(times.ours)}, bare node:http ${ms(times.bare)}`,
    },
    {
      name: `heap of a follower / ${kB(MAX_HEAP)}`,
      ratio: ours.heap / MAX_HEAP,
      aim: '≤ 1',
      detail: `${kB(ours.heap)}, bare node:http ${kB(bare.heap)}`,
    },
  ];
}

/** Opens all followers of a server, over sockets that store nothing. */
async function crowd(server: Running, headers: Record<string, string>, path: (round: number) => string) {
  const { hostname, port } = new URL(server.url);
  const lines = Object.entries({ Host: hostname, Accept: 'text/event-stream', ...headers }).map(
    ([name, value]) => `${name}: ${value}\r\n`,
  );
  const request = `GET /api/models/default/events HTTP/1.1\r\n${lines.join('')}\r\n`;
  const http = poster(server.url, headers);
  let arrived = (_at: number) => {};
  // Warms up: what the server allocates only once is not counted.
  for (const socket of await Promise.all(Array.from({ length: 50 }, follow))) socket.destroy();
  await measure(-WARM_UP - 1, 0);
  const before = await heapOf(server);
  const sockets = await Promise.all(Array.from({ length: FOLLOWERS }, follow));
  const heap = ((await heapOf(server)) - before) / FOLLOWERS;
  const end = () => {
    http.end();
    for (const socket of sockets) socket.destroy();
  };
  return { heap, measure: (round: number) => measure(round, FOLLOWERS), end };

  async function follow() {
    const socket = connect(Number(port), hostname);
    socket.write(request);
    await once(socket, 'data');
    socket.on('data', (chunk) => {
      if (chunk.includes('event: activation')) arrived(performance.now());
    });
    return socket;
  }

  /** Returns the delay in ms of each follower. */
  async function measure(round: number, followers: number): Promise<number[]> {
    const times: number[] = [];
    const all = Promise.withResolvers<void>();
    if (followers === 0) all.resolve();
    const started = performance.now();
    arrived = (at) => {
      if (times.push(at - started) === followers) all.resolve();
    };
    await Promise.all([http.post(path(round), {}), all.promise]);
    return times;
  }
}

async function heapOf({ process }: Running): Promise<number> {
  process.send('heap');
  const [bytes] = await once(process, 'message');
  return bytes;
}
