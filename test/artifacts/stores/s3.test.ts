import { Hash } from 'node:crypto';
import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { parseStoreAddress } from '../../../src/artifacts/address.ts';
import { type Bucket, keyOf } from '../../../src/artifacts/stores/bucket.ts';
import { createObjectStore, type ObjectStore } from '../../../src/artifacts/stores/object-store.ts';
import { createS3Bucket } from '../../../src/artifacts/stores/s3.ts';
import { openTasks } from '../../../src/structures/tasks.ts';
import { bytesOf, digestOfBytes, inChunks, someBytes } from '../../support/bytes.ts';
import { INSTALL_TIMEOUT_MS, type SeaweedFs, startSeaweedFs } from '../../support/seaweedfs.ts';
import { storeContract } from './contract.ts';
import { etagContract } from './etag-contract.ts';
import { listed } from './operations.ts';

const MIB = 1024 * 1024;
let storage: SeaweedFs;
let prefixes = 0;

beforeAll(async () => {
  storage = await startSeaweedFs();
  Object.assign(process.env, storage.env);
  return storage.stop;
}, INSTALL_TIMEOUT_MS);

function bucketAt(place: string, copyBytes?: number): Bucket {
  return bucketOf(`s3://${place}?endpoint=${storage.endpoint}`, copyBytes);
}

function bucketOf(text: string, copyBytes?: number): Bucket {
  const address = parseStoreAddress(text);
  if (address.kind !== 's3') throw new Error('not an address of S3');
  const bucket = createS3Bucket(address, undefined, copyBytes);
  onTestFinished(() => bucket.close?.());
  return bucket;
}

const newPlace = () => `${storage.bucket}/test-${++prefixes}`;
const openStore = (place = newPlace()): ObjectStore => createObjectStore(bucketAt(place));
const never = new AbortController().signal;

storeContract('S3', async () => openStore());
etagContract('S3', () => bucketAt(newPlace()));

describe('an address of a blob', () => {
  async function addressed(seconds: number) {
    const store = openStore();
    const bytes = someBytes(100_000);
    await store.put(digestOfBytes(bytes), inChunks(bytes), bytes.length);
    return { bytes, address: await store.addressOf!(digestOfBytes(bytes), seconds) };
  }

  it('reads it, and ranges of it, without a credential', async () => {
    const { bytes, address } = await addressed(60);
    const whole = await fetch(address);
    expect(whole.status).toBe(200);
    expect(Buffer.from(await whole.arrayBuffer()).equals(bytes)).toBe(true);
    const part = await ask(address, { Range: 'bytes=10-19' });
    expect(part.status).toBe(206);
    expect(part.sent).not.toHaveProperty('authorization');
    expect(part.body.equals(bytes.subarray(10, 20))).toBe(true);
  });

  it('is refused when it is altered, used for another method, or has expired', async () => {
    const { address } = await addressed(1);
    const signature = new URL(address).searchParams.get('X-Amz-Signature')!;
    const altered = address.replace(
      signature,
      signature.replace(/^./, (digit) => (digit === '0' ? '1' : '0')),
    );
    const { address: other } = await addressed(60);
    expect((await ask(altered)).status).toBe(403);
    expect((await ask(address.replace('Expires=1&', 'Expires=900&'))).status).toBe(403);
    expect((await fetch(other, { method: 'DELETE' })).status).toBe(403);
    await sleep(2_100);
    expect((await ask(address)).status).toBe(403);
    expect((await ask(other)).status).toBe(200);
  });

  async function ask(address: string, headers: Record<string, string> = {}) {
    const asking = request(address, { headers }).end();
    const [answer] = (await once(asking, 'response')) as [IncomingMessage];
    return { status: answer.statusCode, body: await bytesOf(answer), sent: asking.getHeaders() };
  }
});

describe('a store that cannot be used', () => {
  const digest = digestOfBytes(Buffer.from('some bytes'));
  const operations: [string, (store: ObjectStore) => Promise<unknown>][] = [
    ['put', (store) => store.put(digest, inChunks(Buffer.from('some bytes')), 10)],
    ['put without a size', (store) => store.put(digest, inChunks(Buffer.from('some bytes')))],
    ['get', (store) => store.get(digest)],
    ['stat', (store) => store.stat(digest)],
    ['list', listed],
    ['sweepUploads', (store) => store.sweepUploads!(0)],
    ['owner', (store) => store.owner()],
    ['own', (store) => store.own('a log')],
  ];

  it.each(operations)('says in %s that its bucket does not exist', async (_, operation) => {
    const refused = {
      code: 'store-unavailable',
      message: expect.stringMatching(/s3:\/\/absent does not exist.*Create/),
    };
    await expect(operation(openStore('absent'))).rejects.toMatchObject(refused);
  });

  it.each(operations)('says in %s that its credentials are refused', async (_, operation) => {
    for (const [name, value] of [
      ['AWS_SECRET_ACCESS_KEY', 'wrong'],
      ['AWS_ACCESS_KEY_ID', 'unknown'],
    ] as const) {
      vi.stubEnv(name, value);
      onTestFinished(() => void vi.unstubAllEnvs());
      const store = openStore();
      const sentence = expect.stringMatching(/refuses the credentials.*Check AWS_ACCESS_KEY_ID/);
      await expect(operation(store)).rejects.toMatchObject({ code: 'store-unavailable', message: sentence });
      vi.unstubAllEnvs();
    }
  });

  it.each([
    ['nothing listens at its endpoint', 's3://models?endpoint=http://127.0.0.1:1', 'nothing listens there'],
    ['it has no region', 's3://models/prefix', 'has no region. Add ?region='],
  ])('says that %s', async (_, text, sentence) => {
    vi.stubEnv('AWS_REGION', '');
    vi.stubEnv('AWS_CONFIG_FILE', '/dev/null');
    onTestFinished(() => void vi.unstubAllEnvs());
    const store = createObjectStore(bucketOf(text));
    await expect(store.stat(digest)).rejects.toMatchObject({
      code: 'store-unavailable',
      message: expect.stringContaining(sentence),
    });
  });

  it('says that there are no credentials', async () => {
    for (const name of ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY']) vi.stubEnv(name, '');
    for (const name of ['AWS_CONFIG_FILE', 'AWS_SHARED_CREDENTIALS_FILE']) vi.stubEnv(name, '/dev/null');
    vi.stubEnv('AWS_EC2_METADATA_DISABLED', 'true');
    onTestFinished(() => void vi.unstubAllEnvs());
    const refused = {
      code: 'store-unavailable',
      message: expect.stringContaining('cannot be used without credentials'),
    };
    await expect(openStore().stat(digest)).rejects.toMatchObject(refused);
    await expect(openStore().addressOf!(digest, 60)).rejects.toMatchObject(refused);
  });
});

describe('an interrupted upload', () => {
  it('is swept when it is old enough, and no other one', async () => {
    const [bucket, other] = [bucketAt(newPlace()), bucketAt(newPlace())];
    const bytes = someBytes(5 * MIB);
    const sha256 = Buffer.from(digestOfBytes(bytes).slice(7), 'hex');
    const first = await bucket.begin('sha256/first', never);
    await first.send(1, bytes, sha256, never);
    const between = Date.now();
    await sleep(1_100); // S3 states whole seconds
    const second = await bucket.begin('sha256/second', never);
    await (await other.begin('sha256/first', never)).send(1, bytes, sha256, never);

    expect(await bucket.sweepUploads!(between, never)).toBe(1);
    await second.send(1, bytes, sha256, never);
    await second.complete(never);
    await expect(first.send(2, bytes, sha256, never)).rejects.toThrow();
    expect(await bucket.stat('sha256/first', never)).toBeNull();
    expect(await bucket.stat('sha256/second', never)).toMatchObject({ size: bytes.length });
    expect(await bucket.sweepUploads!(Date.now() + 60_000, never)).toBe(0);
    expect(await other.sweepUploads!(Date.now() + 60_000, never)).toBe(1);
  });

  it('leaves nothing if the sender left', async () => {
    const place = newPlace();
    async function* leaving() {
      yield* inChunks(someBytes(20 * MIB));
      throw new Error('the sender left');
    }
    const putting = openStore(place).put(digestOfBytes(Buffer.from('other')), leaving(), 21 * MIB);
    await expect(putting).rejects.toThrow('the sender left');
    expect(await openStore(place).sweepUploads!(Date.now() + 60_000)).toBe(0);
  });
});

it('records which log it belongs to', async () => {
  const place = newPlace();
  const store = openStore(place);
  expect(await store.owner()).toBeNull();
  await store.own('a log');
  expect(await openStore(place).owner()).toBe('a log');
  expect(await openStore().owner()).toBeNull();
  expect(await listed(store)).toEqual([]);
});

it('renews an object that is too large for one copy', async () => {
  const bucket = bucketAt(newPlace(), 25 * MIB);
  const store = createObjectStore(bucket);
  const bytes = someBytes(27 * MIB + 5);
  const first = await store.put(digestOfBytes(bytes), inChunks(bytes), bytes.length);
  await sleep(1_100);
  const second = await store.put(digestOfBytes(bytes), inChunks(bytes), bytes.length);
  expect(second.stored_at).toBeGreaterThan(first.stored_at);
  expect((await bytesOf(await store.get(digestOfBytes(bytes)))).equals(bytes)).toBe(true);
  expect(await store.sweepUploads!(Date.now() + 60_000)).toBe(0);
});

it('refuses a body whose hash is not the stated one', async () => {
  const bucket = bucketAt(newPlace());
  const sha256 = Buffer.from(digestOfBytes(Buffer.from('other')).slice(7), 'hex');
  await expect(bucket.put('sha256/wrong', Buffer.from('bytes'), sha256, never)).rejects.toThrow();
  expect(await bucket.stat('sha256/wrong', never)).toBeNull();
});

it('does not hash bytes again for the signature', async () => {
  const update = vi.spyOn(Hash.prototype, 'update');
  onTestFinished(() => update.mockRestore());
  for (const size of [2 * MIB, 17 * MIB]) {
    const bytes = someBytes(size, size);
    const digest = digestOfBytes(bytes);
    update.mockClear();
    await openStore().put(digest, inChunks(bytes), size);
    const hashed = update.mock.calls.reduce((sum, [data]) => sum + data.length, 0);
    // Once for the digest, once for the checksum of the part.
    expect(hashed).toBeGreaterThanOrEqual(2 * size);
    expect(hashed).toBeLessThan(2 * size + 100_000);
  }
});

describe('more than one page', () => {
  const digests = Array.from({ length: 1_001 }, (_, i) => digestOfBytes(Buffer.from(String(i))));

  async function forAll(task: (key: string) => Promise<unknown>): Promise<void> {
    const running = openTasks(50);
    for (const digest of digests) await running.start(async () => void (await task(keyOf(digest))));
    await running.end();
  }

  it('is listed', async () => {
    const bucket = bucketAt(newPlace());
    const bytes = Buffer.from('bytes');
    const sha256 = Buffer.from(digestOfBytes(bytes).slice(7), 'hex');
    await forAll((key) => bucket.put(key, bytes, sha256, never));
    const found = await listed(createObjectStore(bucket));
    expect(found.map(({ digest }) => digest).toSorted()).toEqual(digests.toSorted());
  });

  it('is swept', async () => {
    const bucket = bucketAt(newPlace());
    await forAll((key) => bucket.begin(key, never));
    expect(await bucket.sweepUploads!(Date.now() + 60_000, never)).toBe(digests.length);
  });
});
