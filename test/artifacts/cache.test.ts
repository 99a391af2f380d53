import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { expect, it, onTestFinished } from 'vitest';
import { createCache } from '../../src/artifacts/cache.ts';
import type { ArtifactStore } from '../../src/artifacts/store.ts';
import { openFolderStore } from '../../src/artifacts/stores/folder.ts';
import { openVolumeStore } from '../../src/artifacts/stores/volume.ts';
import { Problem } from '../../src/domain/errors.ts';
import { bytesOf, digestOfBytes, inChunks, someBytes } from '../support/bytes.ts';
import { temporaryFolder } from '../support/folder.ts';
import { storeContract } from './stores/contract.ts';

const MIB = 1024 * 1024;
const BYTES = someBytes(3 * MIB);
const DIGEST = digestOfBytes(BYTES);

/** A store in a folder, whose calls are counted and can be made to fail, and a cache of it. */
async function cached({ reserve = 0, largest = 100 * MIB, waitMs = 60_000 } = {}) {
  const volume = await temporaryFolder();
  const real = await openFolderStore(await temporaryFolder());
  const copies = await openVolumeStore(volume, reserve);
  const calls: string[] = [];
  const faults: Partial<Record<keyof ArtifactStore, () => Promise<never>>> = {};
  const observed = <T extends unknown[], R>(name: keyof ArtifactStore, call: (...args: T) => Promise<R>) => {
    return async (...args: T): Promise<R> => {
      calls.push(name);
      await faults[name]?.();
      return call(...args);
    };
  };
  const store: ArtifactStore = {
    ...real,
    put: observed('put', real.put),
    get: observed('get', real.get),
    stat: observed('stat', real.stat),
  };
  const hits: boolean[] = [];
  const cache = createCache(store, copies, { largest, read: (hit) => hits.push(hit), waitMs });
  onTestFinished(() => cache.close());
  const put = () => cache.store.put(DIGEST, inChunks(BYTES), BYTES.length);
  const read = async () => bytesOf(await cache.reads.get(DIGEST));
  return { cache, copies, real, volume, calls, faults, hits, put, read };
}

const unavailable = () => Promise.reject(new Problem('store-unavailable', 'The store is away.'));

storeContract('a store with a cache', async () => (await cached()).cache.store);

it('writes to both, and reads the copy', async () => {
  const { cache, put, read, real, calls, hits } = await cached();
  expect(cache.grown()).toBe(false);
  await put();
  expect([cache.grown(), cache.grown()]).toEqual([true, false]);
  expect(await real.stat(DIGEST)).toMatchObject({ size: BYTES.length });
  calls.length = 0;
  expect((await read()).equals(BYTES)).toBe(true);
  expect(await cache.reads.stat(DIGEST)).toMatchObject({ size: BYTES.length });
  expect({ calls, hits }).toEqual({ calls: [], hits: [true] });
});

it('copies what is read once, however many ask for it', async () => {
  const { cache, put, read, copies, calls, hits } = await cached();
  await put();
  await copies.delete(DIGEST);
  calls.length = 0;
  const range = cache.reads.get(DIGEST, { start: 5, end: 9 }).then(bytesOf);
  for (const bytes of await Promise.all(Array.from({ length: 20 }, read))) expect(bytes.equals(BYTES)).toBe(true);
  expect((await range).equals(BYTES.subarray(5, 10))).toBe(true);
  expect(calls.filter((name) => name === 'get')).toHaveLength(1);
  expect(hits).not.toContain(true);
  expect(await copies.stat(DIGEST)).toMatchObject({ size: BYTES.length });
});

it('reads the store while a copy takes long', async () => {
  const { cache, put, read, copies, real, volume } = await cached({ waitMs: 20 });
  await put();
  await copies.delete(DIGEST);
  const held = Promise.withResolvers<void>();
  const slow = { ...real, get: async () => Readable.from(slowly(held.promise)) };
  const other = createCache(slow, copies, { largest: 100 * MIB, read: () => {}, waitMs: 20 });
  onTestFinished(() => other.close());
  const brought = other.bring(DIGEST);
  expect((await read()).equals(BYTES)).toBe(true);
  held.resolve();
  await brought;
  await cache.bring(DIGEST);
  expect((await readdir(join(volume, 'blobs'))).filter((name) => name.startsWith('upload-'))).toEqual([]);
});

async function* slowly(held: Promise<void>) {
  yield BYTES.subarray(0, MIB);
  await held;
  yield BYTES.subarray(MIB);
}

it('says what the store has, and not what there are copies of', async () => {
  const { cache, put, real } = await cached();
  await put();
  await real.delete(DIGEST);
  expect(await cache.store.stat(DIGEST)).toBeNull();
  expect(await cache.reads.stat(DIGEST)).not.toBeNull();
});

it('stores nothing that the store refused, and reads copies while the store is away', async () => {
  const { cache, put, read, copies, faults } = await cached();
  await put();
  faults.put = unavailable;
  faults.get = unavailable;
  faults.stat = unavailable;
  const other = someBytes(MIB, 7);
  await expect(cache.store.put(digestOfBytes(other), inChunks(other), MIB)).rejects.toMatchObject({
    code: 'store-unavailable',
  });
  expect(await copies.stat(digestOfBytes(other))).toBeNull();
  expect((await read()).equals(BYTES)).toBe(true);
  await copies.delete(DIGEST);
  await expect(read()).rejects.toMatchObject({ code: 'store-unavailable' });
  await expect(cache.bring(DIGEST)).rejects.toMatchObject({ code: 'store-unavailable' });
});

it('works without a copy if the volume is full or the blob too large', async () => {
  const full = await cached({ reserve: Number.MAX_SAFE_INTEGER });
  await full.put();
  expect((await full.read()).equals(BYTES)).toBe(true);
  expect(await full.copies.stat(DIGEST)).toBeNull();
  await expect(full.cache.bring(DIGEST)).rejects.toMatchObject({ code: 'volume-full' });
  const large = await cached({ largest: MIB });
  await large.put();
  await large.copies.delete(DIGEST);
  expect((await large.read()).equals(BYTES)).toBe(true);
  expect(await large.copies.stat(DIGEST)).toBeNull();
  await large.cache.bring(DIGEST);
  expect(await large.copies.stat(DIGEST)).not.toBeNull();
});

it('never copies other bytes than those of the digest', async () => {
  const { cache, real, copies, volume } = await cached();
  const damaged = { ...real, get: async () => Readable.from([someBytes(BYTES.length, 9)]) };
  const broken = createCache({ ...damaged, stat: async () => ({ size: BYTES.length, stored_at: 0 }) }, copies, {
    largest: 100 * MIB,
    read: () => {},
  });
  await expect(broken.bring(DIGEST)).rejects.toMatchObject({
    code: 'store-unavailable',
    cause: { code: 'checksum-mismatch' },
  });
  await expect(broken.reads.get(DIGEST)).rejects.toMatchObject({ code: 'store-unavailable' });
  expect(await copies.stat(DIGEST)).toBeNull();
  expect((await readdir(join(volume, 'blobs'))).filter((name) => name.startsWith('upload-'))).toEqual([]);
  await expect(cache.reads.get(DIGEST)).rejects.toMatchObject({ code: 'unknown-blob' });
});
