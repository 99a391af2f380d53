import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { median, startRegistry, temporaryFolder } from './processes.ts';
import type { Result } from './result.ts';

const SIZE = 1024 ** 3;
const ROUNDS = 3;
const run = promisify(execFile);

/** Compares an upload of 1 GiB, hashed, written and fsynced, with the slower of openssl and dd with fsync on the same file. */
export async function upload(): Promise<Result[]> {
  const folder = await temporaryFolder();
  const file = join(folder, 'file');
  await run('dd', ['if=/dev/urandom', `of=${file}`, 'bs=1M', `count=${SIZE / 1024 ** 2}`]);
  const { stdout } = await run('openssl', ['dgst', '-sha256', '-r', file]);
  const digest = `sha256:${stdout.slice(0, 64)}`;
  const registry = await startRegistry();
  const times = { hash: [] as number[], copy: [] as number[], upload: [] as number[] };
  let peak = 0;
  for (let round = 0; round < ROUNDS; round++) {
    times.hash.push(await timed(() => run('openssl', ['dgst', '-sha256', file])));
    times.copy.push(await timed(() => run('dd', [`if=${file}`, `of=${file}.copy`, 'bs=1M', 'conv=fsync'])));
    await rm(`${file}.copy`);
    const memory = setInterval(async () => {
      peak = Math.max(peak, await residentBytes(registry.process.pid!));
    }, 50);
    times.upload.push(await timed(() => put(`${registry.url}/api/blobs/${digest}`, registry.headers, file)));
    clearInterval(memory);
    await rm(join(registry.volume, 'blobs/sha256', digest.slice('sha256:'.length)));
  }
  await registry.stop();
  await rm(folder, { recursive: true });
  const bare = Math.max(median(times.hash), median(times.copy));
  const seconds = (ms: number) => `${(ms / 1000).toFixed(2)} s`;
  const detail = `${seconds(median(times.upload))}, openssl ${seconds(median(times.hash))}, dd ${seconds(median(times.copy))}`;
  return [
    { name: 'upload of 1 GiB: bare time / ours', ratio: bare / median(times.upload), aim: '≥ 0.7', detail },
    {
      name: 'upload: resident memory at its peak / 200 MiB',
      ratio: peak / (200 * 1024 ** 2),
      aim: '≤ 1',
      detail: `${Math.round(peak / 1024 ** 2)} MiB`,
    },
  ];
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
