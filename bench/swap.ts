import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, rm } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { publishVersion, quantile, run, startRegistry, temporaryFolder } from './processes.ts';
import type { Result } from './result.ts';

const SIZE_MB = 50;
const ROUNDS = 5;
const SWAPS = 100;
const VERSIONS = ['1.0.0', '1.1.0'];
const EVERY_MS = 5;
const PAUSE_MS = 100;
const QUIET_MS = 5_000;

/**
 * A service answers 200 requests per second while its model of 50 MB is swapped 100 times, every 0.1 s. Counts failed
 * requests, and compares the latency with that without swaps.
 */
export async function swap(): Promise<Result[]> {
  const folder = await temporaryFolder();
  const registry = await startRegistry();
  for (const version of VERSIONS) {
    const source = join(folder, version);
    await mkdir(source);
    const args = ['if=/dev/urandom', `of=${join(source, 'model.bin')}`, 'bs=1M', `count=${SIZE_MB}`];
    await promisify(execFile)('dd', args);
    await publishVersion(registry, version, source);
  }
  await activate(VERSIONS[0]!);
  const token = registry.headers.Authorization!.slice('Bearer '.length);
  const cache = join(folder, 'cache');
  const env = { REGISTRY_DSN: registry.url, REGISTRY_TOKEN: token, MANIFEST_CACHE_DIR: cache };
  const service = await run('bench/service.ts', [], env);
  const load = constantLoad(service.url);
  for (let i = 1; i <= 10; i++) await swapTo(VERSIONS[i % 2]!); // fetches both and warms up
  const times = { quiet: [] as number[], swapping: [] as number[], swaps: [] as number[] };
  for (let round = 0; round < ROUNDS; round++) {
    await sleep(1_000); // lets the last swap finish
    load.take();
    await sleep(QUIET_MS);
    times.quiet.push(...load.take());
    for (let i = 1; i <= SWAPS / ROUNDS; i++) {
      const started = performance.now();
      await swapTo(VERSIONS[i % 2]!);
      times.swaps.push(performance.now() - started);
      await sleep(PAUSE_MS);
    }
    times.swapping.push(...load.take());
  }
  const failures = load.end();
  await service.stop();
  await registry.stop();
  await rm(folder, { recursive: true });
  const p99 = (values: number[]) => quantile(values, 0.99);
  const ms = (values: number[]) => `${p99(values).toFixed(1)} ms (median ${quantile(values, 0.5).toFixed(1)})`;
  return [
    {
      name: `requests that fail while a model of ${SIZE_MB} MB is swapped ${SWAPS} times`,
      ratio: failures,
      aim: '0',
      detail: `${times.swapping.length} requests, a swap takes ${quantile(times.swaps, 0.5).toFixed(0)} ms`,
    },
    {
      name: 'p99 of requests during swaps / without',
      ratio: p99(times.swapping) / p99(times.quiet),
      aim: '≤ 1.5',
      detail: `${ms(times.swapping)}, without ${ms(times.quiet)}`,
    },
  ];

  async function activate(version: string): Promise<void> {
    const path = `/api/models/default/versions/${version}/activate`;
    const headers = { 'Content-Type': 'application/json', ...registry.headers };
    const response = await fetch(registry.url + path, { method: 'POST', headers, body: '{}' });
    if (!response.ok) throw new Error(await response.text());
  }

  async function swapTo(version: string): Promise<void> {
    await activate(version);
    await load.answeredBy(version);
  }
}

/** Sends a request every few ms, without waiting for earlier answers. */
function constantLoad(url: string) {
  const { hostname, port } = new URL(url);
  const request = `GET / HTTP/1.1\r\nHost: ${hostname}\r\n\r\n`;
  const idle: Socket[] = [];
  const times: number[] = [];
  let failures = 0;
  let awaited = { version: '', resolve: () => {} };
  const sending = setInterval(() => void ask(), EVERY_MS);
  return {
    /** Returns the latencies of the answers since the last call. */
    take: () => times.splice(0),
    answeredBy(version: string): Promise<void> {
      const { promise, resolve } = Promise.withResolvers<void>();
      awaited = { version, resolve };
      return promise;
    },
    /** Returns the number of failures. */
    end(): number {
      clearInterval(sending);
      for (const socket of idle) socket.destroy();
      return failures;
    },
  };

  async function ask(): Promise<void> {
    const started = performance.now();
    try {
      const socket = idle.pop() ?? connect(Number(port), hostname).setNoDelay();
      socket.write(request);
      const [answer] = await once(socket, 'data');
      times.push(performance.now() - started);
      idle.push(socket);
      const text = answer.toString('latin1');
      if (!text.startsWith('HTTP/1.1 200')) failures++;
      else if (text.includes(`\r\n\r\n${awaited.version} `)) awaited.resolve();
    } catch {
      failures++;
    }
  }
}
