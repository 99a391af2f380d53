import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { poster, timesOf } from './load.ts';
import { median, publishSamples, quantile, type Registry, startRegistry, temporaryFolder } from './processes.ts';
import type { Result } from './result.ts';

const SIZE = 1024 ** 3;
const ROUNDS = 3;
const READS_PER_SECOND = 500;
const QUIET_MS = 3_000;
const MEMORY_AIM = 150 * 1024 ** 2;
const ACTIVE = '/api/models/default/versions/active?environment=production';
const run = promisify(execFile);

/**
 * Compares an upload of 1 GiB, hashed, written and fsynced, with the slower of openssl and dd with fsync on the same file,
 * and the latency of reads during uploads with that without. For scale, it also states the latency of reads while openssl
 * and dd run at the same time, which only use the processors and the disk.
 */
export async function upload(): Promise<Result[]> {
  const folder = await temporaryFolder();
  const file = join(folder, 'file');
  await run('dd', ['if=/dev/urandom', `of=${file}`, 'bs=1M', `count=${SIZE / 1024 ** 2}`]);
  const hash = () => run('openssl', ['dgst', '-sha256', '-r', file]);
  const digest = `sha256:${(await hash()).stdout.slice(0, 64)}`;
  const copy = async () => {
    await run('dd', [`if=${file}`, `of=${file}.copy`, 'bs=1M', 'conv=fsync']);
    await rm(`${file}.copy`);
  };
  const registry = await startRegistry();
  await activateSample(registry);
  const send = async () => {
    await put(`${registry.url}/api/blobs/${digest}`, registry.headers, file);
    await rm(join(registry.volume, 'blobs/sha256', digest.slice('sha256:'.length)));
  };
  const readsDuring = (action: () => Promise<unknown>) => readTimes(registry, action);
  await readsDuring(() => sleep(QUIET_MS)); // warms up
  const times = { hash: [] as number[], copy: [] as number[], upload: [] as number[] };
  const reads = { quiet: [] as number[], bare: [] as number[], upload: [] as number[] };
  const before = await residentBytes(registry.process.pid!);
  let peak = 0;
  for (let round = 0; round < ROUNDS; round++) {
    times.hash.push(await timed(hash));
    times.copy.push(await timed(copy));
    reads.quiet.push(...(await readsDuring(() => sleep(QUIET_MS))));
    reads.bare.push(...(await readsDuring(() => Promise.all([hash(), copy()]))));
    const memory = setInterval(async () => {
      peak = Math.max(peak, await residentBytes(registry.process.pid!));
    }, 50);
    times.upload.push(await timed(send));
    reads.upload.push(...(await readsDuring(send)));
    clearInterval(memory);
  }
  await registry.stop();
  await rm(folder, { recursive: true });
  return results(times, reads, { before, peak });
}

type Times<K extends string> = Record<K, number[]>;

function results(
  times: Times<'hash' | 'copy' | 'upload'>,
  reads: Times<'quiet' | 'bare' | 'upload'>,
  memory: { before: number; peak: number },
) {
  const mebibytes = (bytes: number) => `${Math.round(bytes / 1024 ** 2)} MiB`;
  const bare = Math.max(median(times.hash), median(times.copy));
  const seconds = (ms: number[]) => `${(median(ms) / 1000).toFixed(2)} s`;
  const p99 = (ms: number[]) => quantile(ms, 0.99);
  const latency = (ms: number[]) => `${p99(ms).toFixed(2)} ms (median ${median(ms).toFixed(2)})`;
  const found: Result[] = [
    {
      name: 'upload of 1 GiB: bare time / ours',
      ratio: bare / median(times.upload),
      aim: '≥ 0.6',
      detail: `${seconds(times.upload)}, openssl ${seconds(times.hash)}, dd ${seconds(times.copy)}`,
    },
    {
      name: 'upload: resident memory at its peak / 150 MiB',
      ratio: memory.peak / MEMORY_AIM,
      aim: '≤ 1',
      detail: `${mebibytes(memory.peak)}, before the first one ${mebibytes(memory.before)}`,
    },
    {
      name: 'p99 of GET active during uploads / without',
      ratio: p99(reads.upload) / p99(reads.quiet),
      aim: '≤ 2',
      detail: `${latency(reads.upload)} / ${latency(reads.quiet)}; beside openssl and dd ${latency(reads.bare)}`,
    },
  ];
  return found;
}

async function activateSample(registry: Registry): Promise<void> {
  await publishSamples(registry);
  const http = await poster(registry.url, registry.headers);
  await http.post('/api/models/default/versions/1.0.0/activate', {});
  http.end();
}

/** Returns the times of reads of `GET active`, in ms, while the action runs. */
async function readTimes({ url, headers }: Registry, action: () => Promise<unknown>): Promise<number[]> {
  let isDone = false;
  const acting = action().finally(() => {
    isDone = true;
  });
  const times = await timesOf(url + ACTIVE, headers, READS_PER_SECOND, () => isDone);
  await acting;
  return times;
}

/** Uses curl, which sends faster than Node: the sender must not be the bottleneck. */
async function put(url: string, headers: Record<string, string>, file: string): Promise<void> {
  const args = ['-sS', '--fail', '-T', file, '-H', `Authorization: ${headers.Authorization}`, '-H', 'Expect:', url];
  const child = spawn('curl', args, { stdio: ['ignore', 'ignore', 'inherit'] });
  const [code] = await once(child, 'exit');
  if (code !== 0) throw new Error(`curl ended with ${code}`);
}

async function residentBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+)/.exec(status)![1]) * 1024;
}

async function timed(action: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await action();
  return performance.now() - started;
}
