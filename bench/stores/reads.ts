import { createHash, randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { parseStoreAddress } from '../../dist/artifacts/address.js';
import { createS3Bucket } from '../../dist/artifacts/stores/s3.js';
import { timesOf } from '../load.ts';
import { median, quantile, type Registry } from '../processes.ts';
import type { Result } from '../result.ts';
import type { S3 } from './s3.ts';

const SIZE = 1024 ** 2;
const ROUNDS = 3;
const REQUESTS = 150;
const PER_SECOND = 100;
const ADDRESS_SECONDS = 3600;
const HEX = 'sha256:'.length;

/** Reads a file of 1 MiB from registries on S3 and on the volume: with a copy on the volume, and without. */
export async function reads(s3: S3, onS3: Registry, onVolume: Registry): Promise<Result[]> {
  const bytes = randomBytes(SIZE);
  const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  for (const registry of [onS3, onVolume]) await put(registry, digest, bytes);
  const copy = join(onS3.volume, 'blobs/sha256', digest.slice(HEX));
  const bare = await addressIn(s3, digest);
  const from = ({ url, headers }: Registry, before?: () => void) =>
    readTimes(`${url}/api/blobs/${digest}`, headers, before);
  const times = { hit: [] as number[], volume: [] as number[], miss: [] as number[], bare: [] as number[] };
  for (let round = 0; round <= ROUNDS; round++) {
    const found = {
      hit: await from(onS3),
      volume: await from(onVolume),
      miss: await from(onS3, () => rmSync(copy, { force: true })),
      bare: await readTimes(bare, {}),
    };
    await from(onS3); // makes the copy again
    if (round === 0) continue; // warms up
    times.hit.push(...found.hit);
    times.volume.push(...found.volume);
    times.miss.push(...found.miss);
    times.bare.push(...found.bare);
  }
  return [
    compared('with a copy', 'a registry on the volume', times.hit, times.volume, '≤ 1.2'),
    compared('without a copy', 'a bare GET from S3', times.miss, times.bare, 'none'),
  ];
}

async function put({ url, headers }: Registry, digest: string, body: Buffer<ArrayBuffer>): Promise<void> {
  const answer = await fetch(`${url}/api/blobs/${digest}`, { method: 'PUT', headers, body });
  if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
}

/** Returns an address that reads the blob from S3 without further credentials. */
async function addressIn({ env }: S3, digest: string): Promise<string> {
  const address = parseStoreAddress(env.REGISTRY_ARTIFACTS);
  if (address.kind !== 's3') throw new Error('it is not S3');
  Object.assign(process.env, env);
  const bucket = createS3Bucket(address);
  const found = await bucket.addressOf!(`sha256/${digest.slice(HEX)}`, ADDRESS_SECONDS);
  await bucket.close!();
  return found;
}

/** @param before called before each request */
async function readTimes(url: string, headers: Record<string, string>, before = () => {}): Promise<number[]> {
  let left = REQUESTS;
  return timesOf(url, headers, PER_SECOND, () => {
    before();
    return left-- === 0;
  });
}

function compared(how: string, other: string, ours: number[], theirs: number[], aim: string): Result {
  const described = (ms: number[]) => `${median(ms).toFixed(2)} ms, p99 ${quantile(ms, 0.99).toFixed(2)}`;
  return {
    name: `GET of 1 MiB from a registry on S3, ${how} / ${other}, medians`,
    ratio: median(ours) / median(theirs),
    aim,
    detail: `${described(ours)} (${described(theirs)})`,
  };
}
