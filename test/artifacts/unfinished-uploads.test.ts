import { readdir, rename, statfs, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type Artifacts, onVolume } from '../../src/artifacts/artifacts.ts';
import { createCache } from '../../src/artifacts/cache.ts';
import { IncompleteBytes } from '../../src/artifacts/incomplete.ts';
import type { ArtifactStore } from '../../src/artifacts/store.ts';
import { openFolderStore } from '../../src/artifacts/stores/folder.ts';
import { openVolumeStore } from '../../src/artifacts/stores/volume.ts';
import { openUnfinishedUploads, type Sending } from '../../src/artifacts/unfinished-uploads.ts';
import { LIMITS } from '../../src/artifacts/upload-limits.ts';
import { openWriter } from '../../src/artifacts/writer.ts';
import { Problem } from '../../src/domain/errors.ts';
import { bytesOf, digestOfBytes, inChunks, someBytes } from '../support/bytes.ts';
import { temporaryFolder } from '../support/folder.ts';

const MIB = 1024 * 1024;
const bytes = someBytes(9 * MIB + 7);
const digest = digestOfBytes(bytes);

/** A body; after `cut` bytes its sender leaves. */
function sending(content: Uint8Array, cut?: number): Sending {
  async function* arriving() {
    yield* inChunks(content.subarray(0, cut), 64 * 1024);
    if (cut !== undefined) throw new IncompleteBytes(new Error('aborted'));
  }
  return { bytes: arriving(), size: content.length, end: () => {} };
}

const unfinishedIn = (volume: string) => readdir(join(volume, 'blobs/unfinished'));

async function onOneDisk(volume: string): Promise<Artifacts> {
  const writer = openWriter();
  onTestFinished(() => writer.close());
  return onVolume(await openVolumeStore(volume, 0, 0, writer));
}

async function withStoreElsewhere(volume: string): Promise<Artifacts> {
  const elsewhere = await openFolderStore(await temporaryFolder());
  const cache = createCache(elsewhere, await openVolumeStore(volume, 0), { largest: 0, read: () => {} });
  onTestFinished(() => cache.close());
  return cache;
}

describe.each([
  ['on the volume', onOneDisk],
  ['elsewhere', withStoreElsewhere],
])('with the store %s', (_, open) => {
  async function opened() {
    const volume = await temporaryFolder();
    const artifacts = await open(volume);
    return { volume, artifacts, uploads: await openUnfinishedUploads(volume, artifacts, LIMITS, 0) };
  }

  it('keeps what arrived of a put, and stores the whole', async () => {
    const { volume, artifacts, uploads } = await opened();
    await expect(uploads.put('ana', digest, sending(bytes, 5 * MIB))).rejects.toBeInstanceOf(IncompleteBytes);
    expect(await artifacts.store.stat(digest)).toBeNull();
    const offset = await uploads.offset('ana', digest);
    expect(offset).toBe(5 * MIB);
    const part = { offset, sending: sending(bytes.subarray(offset)), isLast: true };
    expect(await uploads.append('ana', digest, part)).toMatchObject({ size: bytes.length });
    expect((await bytesOf(await artifacts.store.get(digest))).equals(bytes)).toBe(true);
    expect(await unfinishedIn(volume)).toEqual([]);
    expect(await uploads.offset('ana', digest)).toBe(0);
  });

  it('leaves nothing of a put that succeeds or has wrong bytes', async () => {
    const { volume, artifacts, uploads } = await opened();
    const wrong = Buffer.concat([bytes.subarray(0, 9 * MIB), Buffer.alloc(7)]);
    await expect(uploads.put('ana', digest, sending(wrong))).rejects.toMatchObject({ code: 'checksum-mismatch' });
    expect(await unfinishedIn(volume)).toEqual([]);
    await uploads.put('ana', digest, sending(bytes));
    expect((await bytesOf(await artifacts.store.get(digest))).equals(bytes)).toBe(true);
    expect(await unfinishedIn(volume)).toEqual([]);
  });

  it('completes an upload of a blob that was stored meanwhile', async () => {
    const { volume, artifacts, uploads } = await opened();
    await expect(uploads.put('ana', digest, sending(bytes, 5 * MIB))).rejects.toThrow();
    await uploads.put('ben', digest, sending(bytes));
    const part = { offset: 5 * MIB, sending: sending(bytes.subarray(5 * MIB)), isLast: true };
    expect(await uploads.append('ana', digest, part)).toMatchObject({ size: bytes.length });
    expect((await bytesOf(await artifacts.store.get(digest))).equals(bytes)).toBe(true);
    expect(await unfinishedIn(volume)).toEqual([]);
  });
});

it('keeps what arrived when a store elsewhere becomes unavailable', async () => {
  const volume = await temporaryFolder();
  const artifacts = await withStoreElsewhere(volume);
  let isAway = true;
  const store: ArtifactStore = {
    ...artifacts.store,
    async put(digest, content, size) {
      if (!isAway) return artifacts.store.put(digest, content, size);
      let taken = 0;
      for await (const chunk of content) {
        taken += chunk.length;
        if (taken >= 5 * MIB) break;
      }
      throw new Problem('store-unavailable', 'The store is away.');
    },
  };
  const uploads = await openUnfinishedUploads(volume, { ...artifacts, store }, LIMITS, 0);
  await expect(uploads.put('ana', digest, sending(bytes))).rejects.toMatchObject({ code: 'store-unavailable' });
  const offset = await uploads.offset('ana', digest);
  expect(offset).toBe(5 * MIB);
  const rest = () => ({ offset, sending: sending(bytes.subarray(offset)), isLast: true });
  await expect(uploads.append('ana', digest, rest())).rejects.toMatchObject({ code: 'store-unavailable' });
  isAway = false;
  const nothing = { offset: bytes.length, sending: sending(Buffer.alloc(0)), isLast: true };
  expect(await uploads.append('ana', digest, nothing)).toMatchObject({ size: bytes.length });
  expect(await unfinishedIn(volume)).toEqual([]);
});

it('goes on after the server was killed', async () => {
  const volume = await temporaryFolder();
  const artifacts = await onOneDisk(volume);
  const before = await openUnfinishedUploads(volume, artifacts, LIMITS, 0);
  await expect(before.put('ana', digest, sending(bytes, 5 * MIB))).rejects.toThrow();
  // As a `put` leaves it whose server is killed.
  const [name] = await unfinishedIn(volume);
  const path = join(volume, 'blobs/unfinished', name!);
  await rename(path, `${path}.running`);
  const after = await openUnfinishedUploads(volume, artifacts, LIMITS, 0);
  expect(await after.offset('ana', digest)).toBe(5 * MIB);
  const part = { offset: 5 * MIB, sending: sending(bytes.subarray(5 * MIB)), isLast: true };
  expect(await after.append('ana', digest, part)).toMatchObject({ size: bytes.length });
});

it('deletes uploads after a day without a byte, also at the start', async () => {
  const volume = await temporaryFolder();
  const artifacts = await onOneDisk(volume);
  const uploads = await openUnfinishedUploads(volume, artifacts, LIMITS, 0);
  const old = async () => {
    await expect(uploads.put('ana', digest, sending(bytes, 5 * MIB))).rejects.toThrow();
    const [name] = await unfinishedIn(volume);
    const yesterday = new Date(Date.now() - 25 * 3600_000);
    await utimes(join(volume, 'blobs/unfinished', name!), yesterday, yesterday);
  };
  await old();
  expect(await uploads.sweep(Date.now() - 26 * 3600_000)).toBe(0);
  expect(await uploads.sweep(Date.now() - 24 * 3600_000)).toBe(1);
  expect(await unfinishedIn(volume)).toEqual([]);
  await old();
  await openUnfinishedUploads(volume, artifacts, LIMITS, 0);
  expect(await unfinishedIn(volume)).toEqual([]);
});

it('does not delete an upload that a request writes to', async () => {
  const volume = await temporaryFolder();
  const uploads = await openUnfinishedUploads(volume, await onOneDisk(volume), LIMITS, 0);
  const more = Promise.withResolvers<void>();
  async function* slow() {
    yield bytes.subarray(0, 5 * MIB);
    await more.promise;
    yield bytes.subarray(5 * MIB);
  }
  const part = { offset: 0, sending: { bytes: slow(), size: bytes.length, end: () => {} }, isLast: true };
  const stored = uploads.append('ana', digest, part);
  await expect.poll(() => unfinishedIn(volume)).toHaveLength(1);
  expect(await uploads.sweep(Date.now() + 3600_000)).toBe(0);
  more.resolve();
  expect(await stored).toMatchObject({ size: bytes.length });
});

it('refuses bytes that do not fit above the reserve of the disk', async () => {
  const volume = await temporaryFolder();
  const artifacts = await onOneDisk(volume);
  const { bavail, bsize } = await statfs(volume);
  const full = await openUnfinishedUploads(volume, artifacts, LIMITS, bavail * bsize * 2);
  const append = (uploads: typeof full, offset: number, content: Uint8Array) =>
    uploads.append('ana', digest, { offset, sending: sending(content), isLast: false });
  await expect(append(full, 0, bytes)).rejects.toMatchObject({ code: 'volume-full' });
  expect(await unfinishedIn(volume)).toEqual([]);
  // Only the beginning fits: 70 MiB arrive without being announced.
  const nearlyFull = await openUnfinishedUploads(volume, artifacts, LIMITS, bavail * bsize - 16 * MIB);
  async function* endless() {
    for (let i = 0; i < 70; i++) yield bytes.subarray(0, MIB);
  }
  const unannounced = { bytes: endless(), size: undefined, end: () => {} };
  const tooMuch = nearlyFull.append('ana', digest, { offset: 0, sending: unannounced, isLast: false });
  await expect(tooMuch).rejects.toMatchObject({ code: 'volume-full' });
  expect(await unfinishedIn(volume)).toEqual([]);
});

it('refuses bytes beyond the limit that were not announced', async () => {
  const volume = await temporaryFolder();
  const limits = { ...LIMITS, caller: { uploads: 9, bytes: 10 * MIB } };
  const uploads = await openUnfinishedUploads(volume, await onOneDisk(volume), limits, 0);
  async function* endless() {
    for (;;) yield bytes.subarray(0, MIB);
  }
  const part = { offset: 0, sending: { bytes: endless(), size: undefined, end: () => {} }, isLast: false };
  await expect(uploads.append('ana', digest, part)).rejects.toMatchObject({ code: 'too-many-uploads' });
  expect(await unfinishedIn(volume)).toEqual([]);
});
