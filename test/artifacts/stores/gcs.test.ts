import { generateKeyPairSync } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { parseStoreAddress } from '../../../src/artifacts/address.ts';
import { openStore as openRemoteStore } from '../../../src/artifacts/open.ts';
import type { Bucket } from '../../../src/artifacts/stores/bucket.ts';
import { createGcsBucket } from '../../../src/artifacts/stores/gcs.ts';
import { createObjectStore, type ObjectStore } from '../../../src/artifacts/stores/object-store.ts';
import { bytesOf, digestOfBytes, inChunks, someBytes } from '../../support/bytes.ts';
import { INSTALL_TIMEOUT_MS } from '../../support/cached.ts';
import { type FakeGcs, startFakeGcs } from '../../support/fake-gcs.ts';
import { temporaryFolder } from '../../support/folder.ts';
import { freePort } from '../../support/nats.ts';
import { storeContract } from './contract.ts';
import { etagContract } from './etag-contract.ts';
import { listed, operations } from './operations.ts';
import { sha256Of, uploadContract } from './upload-contract.ts';

const never = new AbortController().signal;
let storage: FakeGcs;
let prefixes = 0;

beforeAll(async () => {
  storage = await startFakeGcs();
  return storage.stop;
}, INSTALL_TIMEOUT_MS);

function bucketAt(place: string, endpoint = storage.endpoint): Bucket {
  const address = parseStoreAddress(`gs://${place}?endpoint=${endpoint}`);
  if (address.kind !== 'gs') throw new Error('not an address of Google Cloud Storage');
  return createGcsBucket(address);
}

const newPlace = () => `${storage.bucket}/test-${++prefixes}`;
const openStore = (place = newPlace()): ObjectStore => createObjectStore(bucketAt(place));
const openBucket = (endpoint = storage.endpoint) => bucketAt(newPlace(), endpoint);

storeContract('Google Cloud Storage', async () => openStore(), false);
uploadContract('Google Cloud Storage', openBucket, () => storage.endpoint);
etagContract('Google Cloud Storage', openBucket);

it('changes the metadata of a blob that is put again, and keeps its bytes', async () => {
  const place = newPlace();
  const store = openStore(place);
  const bytes = someBytes(1_000);
  const digest = digestOfBytes(bytes);
  const name = `${place.slice(place.indexOf('/') + 1)}/sha256/${digest.slice('sha256:'.length)}`;
  const path = `/storage/v1/b/${storage.bucket}/o/${encodeURIComponent(name)}`;
  const renewed = async () => {
    await store.put(digest, inChunks(bytes), bytes.length);
    const { metadata } = (await (await fetch(storage.endpoint + path)).json()) as { metadata?: Record<string, string> };
    return metadata?.['signalbox-renewed'];
  };
  const values = [await renewed(), await renewed(), await renewed()];
  expect(values[0]).toBeUndefined();
  expect(values[1]).toBeDefined();
  expect(values[2]).not.toBe(values[1]);
  expect((await bytesOf(await store.get(digest))).equals(bytes)).toBe(true);
});

describe('an address of a blob', () => {
  it('reads it, and ranges of it, and is signed with the key of the service account', async () => {
    const folder = await temporaryFolder();
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const account = {
      type: 'service_account',
      client_email: 'tests@signalbox.invalid',
      private_key: privateKey.export({ type: 'pkcs8', format: 'pem' }),
    };
    await writeFile(join(folder, 'key.json'), JSON.stringify(account));
    withEnv({ GOOGLE_APPLICATION_CREDENTIALS: join(folder, 'key.json') });
    const store = openStore();
    const bytes = someBytes(1_000);
    await store.put(digestOfBytes(bytes), inChunks(bytes), bytes.length);
    const address = await store.addressOf!(digestOfBytes(bytes), 60);

    const { searchParams } = new URL(address);
    expect(searchParams.get('X-Goog-Credential')).toMatch(/^tests@signalbox\.invalid\//);
    expect(searchParams.get('X-Goog-Expires')).toMatch(/^(59|60)$/);
    expect(searchParams.get('X-Goog-Signature')).toMatch(/^[0-9a-f]{512}$/);
    expect(Buffer.from(await (await fetch(address)).arrayBuffer()).equals(bytes)).toBe(true);
    const part = await fetch(address, { headers: { range: 'bytes=10-19' } });
    expect(part.status).toBe(206);
    expect(Buffer.from(await part.arrayBuffer()).equals(bytes.subarray(10, 20))).toBe(true);
  });

  it('is not made without a key', async () => {
    await withoutCredentials();
    const made = openStore().addressOf!(digestOfBytes(Buffer.from('some bytes')), 60);
    await expect(made).rejects.toMatchObject({ code: 'store-unavailable' });
  });
});

describe('a store that cannot be used', () => {
  it.each(operations)('says in %s that its bucket does not exist', async (_, operation) => {
    const message = expect.stringMatching(/gs:\/\/absent does not exist\. Create/);
    await expect(operation(openStore('absent'))).rejects.toMatchObject({ code: 'store-unavailable', message });
  });

  it('says that nothing listens at its endpoint', async () => {
    const store = createObjectStore(openBucket(`http://127.0.0.1:${await freePort()}`));
    const message = expect.stringContaining('nothing listens there');
    await expect(store.owner()).rejects.toMatchObject({ code: 'store-unavailable', message });
  });

  it('says that there are no credentials, and sends none without TLS', async () => {
    await withoutCredentials();
    const store = createObjectStore(openBucket('https://127.0.0.1:1'));
    const message = expect.stringMatching(
      /cannot be used without credentials: .*\. Check GOOGLE_APPLICATION_CREDENTIALS/,
    );
    await expect(store.owner()).rejects.toMatchObject({ code: 'store-unavailable', message });
    expect(await openStore().owner()).toBeNull();
  });
});

it('refuses a body that is not the one that was sent', async () => {
  const bytes = someBytes(1_000);
  const bucket = openBucket();
  const send = globalThis.fetch;
  onTestFinished(() => void vi.unstubAllGlobals());
  vi.stubGlobal('fetch', (url: URL, request: RequestInit) => {
    const body = Buffer.from(request.body as Buffer);
    body[body.indexOf(bytes) + 5]! ^= 1;
    return send(url, { ...request, body });
  });
  await expect(bucket.put('sha256/changed', bytes, sha256Of(bytes), never)).rejects.toThrow('answered 400');
  vi.unstubAllGlobals();
  expect(await bucket.stat('sha256/changed', never)).toBeNull();
});

it('is opened by its address, and records which log it belongs to', async () => {
  const place = newPlace();
  const address = parseStoreAddress(`gs://${place}?endpoint=${storage.endpoint}`);
  const store = await openRemoteStore(address, { nats: null, connectTo: () => Promise.reject(new Error('no NATS')) });
  expect(await store.owner()).toBeNull();
  await store.own('a log');
  expect(await openStore(place).owner()).toBe('a log');
  expect(await openStore().owner()).toBeNull();
  expect(await listed(store)).toEqual([]);
});

/** Hides what this machine and its user may have. */
async function withoutCredentials(): Promise<void> {
  const HOME = await temporaryFolder();
  withEnv({ HOME, GOOGLE_APPLICATION_CREDENTIALS: '', METADATA_SERVER_DETECTION: 'none' });
}

function withEnv(variables: Record<string, string>): void {
  for (const [name, value] of Object.entries(variables)) vi.stubEnv(name, value);
  onTestFinished(() => void vi.unstubAllEnvs());
}
