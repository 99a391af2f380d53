import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { parseStoreAddress } from '../../../src/artifacts/address.ts';
import { openStore as openRemoteStore } from '../../../src/artifacts/open.ts';
import { createAzureBucket } from '../../../src/artifacts/stores/azure.ts';
import type { Bucket } from '../../../src/artifacts/stores/bucket.ts';
import { createObjectStore, type ObjectStore } from '../../../src/artifacts/stores/object-store.ts';
import { type Azurite, startAzurite } from '../../support/azurite.ts';
import { digestOfBytes, inChunks, someBytes } from '../../support/bytes.ts';
import { INSTALL_TIMEOUT_MS } from '../../support/cached.ts';
import { storeContract } from './contract.ts';
import { etagContract } from './etag-contract.ts';
import { listed, operations } from './operations.ts';
import { inParts, read, sendAll, sha256Of, uploadContract } from './upload-contract.ts';

const MIB = 1024 * 1024;
const never = new AbortController().signal;
let storage: Azurite;
let prefixes = 0;

beforeAll(async () => {
  storage = await startAzurite();
  Object.assign(process.env, storage.env);
  return storage.stop;
}, INSTALL_TIMEOUT_MS);

function bucketAt(place: string, query = `?endpoint=${storage.endpoint}`): Bucket {
  const address = parseStoreAddress(`azure://${place}${query}`);
  if (address.kind !== 'azure') throw new Error('not an address of Azure');
  return createAzureBucket(address);
}

const newPlace = () => `${storage.container}/test-${++prefixes}`;
const openStore = (place = newPlace()): ObjectStore => createObjectStore(bucketAt(place));
const openBucket = (endpoint = storage.endpoint) => bucketAt(newPlace(), `?endpoint=${endpoint}`);

storeContract('Azure', async () => openStore());
uploadContract('Azure', openBucket, () => storage.endpoint);
etagContract('Azure', openBucket);

describe('uploads of one blob at the same time', () => {
  it('end when another one has discarded their blocks by completing', async () => {
    const bucket = openBucket();
    const { parts, bytes, key } = inParts(8 * MIB, 8 * MIB, 5);
    const [first, late] = [await sendAll(bucket, key, parts), await sendAll(bucket, key, parts.slice(0, 2))];
    const begun = await bucket.begin(key, never);
    await first.complete(never);
    await late.send(3, parts[2]!, sha256Of(parts[2]!), never);
    await late.complete(never);
    for (const [index, part] of parts.entries()) await begun.send(index + 1, part, sha256Of(part), never);
    await begun.complete(never);
    expect((await read(bucket, key))!.equals(bytes)).toBe(true);
  });

  it('fail when their blocks are gone and the blob is not there', async () => {
    const bucket = openBucket();
    const { parts, key } = inParts(MIB, 5);
    const upload = await sendAll(bucket, key, parts);
    await (await sendAll(bucket, key, parts)).complete(never);
    await bucket.delete(key, never);
    await expect(upload.complete(never)).rejects.toMatchObject({ code: 'InvalidBlockList' });
    await bucket.put(key, parts[0]!, sha256Of(parts[0]!), never);
    await expect(upload.complete(never)).rejects.toMatchObject({ code: 'InvalidBlockList' });
    expect((await read(bucket, key))!.equals(parts[0]!)).toBe(true);
  });
});

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
    const part = await fetch(address, { headers: { range: 'bytes=10-19' } });
    expect(part.status).toBe(206);
    expect(Buffer.from(await part.arrayBuffer()).equals(bytes.subarray(10, 20))).toBe(true);
  });

  it('is refused when it is altered, used for another blob or method, or has expired', async () => {
    const [{ address }, { address: other }] = [await addressed(1), await addressed(60)];
    const altered = new URL(other);
    altered.searchParams.set('se', '2999-01-01T00:00:00Z');
    const elsewhere = new URL(other);
    elsewhere.pathname = new URL(address).pathname;
    expect((await fetch(altered)).status).toBe(403);
    expect((await fetch(elsewhere)).status).toBe(403);
    expect((await fetch(other, { method: 'DELETE' })).status).toBe(403);
    await sleep(2_100);
    expect((await fetch(address)).status).toBe(403);
    expect((await fetch(other)).status).toBe(200);
  });
});

describe('a store that cannot be used', () => {
  it.each(operations)('says in %s that its container does not exist', async (_, operation) => {
    const message = expect.stringMatching(/azure:\/\/absent does not exist\. Create/);
    await expect(operation(openStore('absent'))).rejects.toMatchObject({ code: 'store-unavailable', message });
  });

  it.each(operations)('says in %s that its credentials are refused', async (_, operation) => {
    withEnv({ AZURE_STORAGE_KEY: Buffer.from('wrong').toString('base64') });
    const message = expect.stringMatching(/refuses the credentials.*\. Check AZURE_STORAGE_CONNECTION_STRING/);
    await expect(operation(openStore())).rejects.toMatchObject({ code: 'store-unavailable', message });
  });

  it('says that nothing listens at its endpoint', async () => {
    const store = createObjectStore(openBucket('http://127.0.0.1:1/account'));
    const message = expect.stringContaining('nothing listens there');
    await expect(store.owner()).rejects.toMatchObject({ code: 'store-unavailable', message });
  });

  it('says that there are no credentials', async () => {
    withEnv({ AZURE_STORAGE_KEY: '', AZURE_TOKEN_CREDENTIALS: 'EnvironmentCredential' });
    const store = createObjectStore(openBucket(storage.endpoint.replace('http:', 'https:')));
    const message = expect.stringMatching(/gives no token\. Check/);
    await expect(store.owner()).rejects.toMatchObject({ code: 'store-unavailable', message });
  });

  it('says that no account is named', () => {
    withEnv({ AZURE_STORAGE_ACCOUNT: '', AZURE_STORAGE_KEY: '' });
    expect(() => bucketAt('models/test', '')).toThrow(/Set AZURE_STORAGE_ACCOUNT .* azure:\/\/models\/test/);
  });
});

it('takes its account and key from a connection string', async () => {
  const { AZURE_STORAGE_ACCOUNT, AZURE_STORAGE_KEY } = storage.env;
  const account = `DefaultEndpointsProtocol=http;AccountName=${AZURE_STORAGE_ACCOUNT};AccountKey=${AZURE_STORAGE_KEY}`;
  const place = newPlace();
  withEnv({ AZURE_STORAGE_ACCOUNT: '', AZURE_STORAGE_KEY: '' });
  withEnv({ AZURE_STORAGE_CONNECTION_STRING: `${account};BlobEndpoint=${storage.endpoint}` });
  await createObjectStore(bucketAt(place, '')).own('a log');
  withEnv({ AZURE_STORAGE_CONNECTION_STRING: `${account};BlobEndpoint=http://127.0.0.1:1/other` });
  expect(await openStore(place).owner()).toBe('a log');
});

it('is opened by its address, and records which log it belongs to', async () => {
  const place = newPlace();
  const address = parseStoreAddress(`azure://${place}?endpoint=${storage.endpoint}`);
  const store = await openRemoteStore(address, { nats: null, connectTo: () => Promise.reject(new Error('no NATS')) });
  expect(await store.owner()).toBeNull();
  await store.own('a log');
  expect(await openStore(place).owner()).toBe('a log');
  expect(await openStore().owner()).toBeNull();
  expect(await listed(store)).toEqual([]);
});

function withEnv(variables: Record<string, string>): void {
  for (const [name, value] of Object.entries(variables)) vi.stubEnv(name, value);
  onTestFinished(() => void vi.unstubAllEnvs());
}
