import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { ArtifactStore } from '../../../src/artifacts/store.ts';
import { bytesOf, digestOfBytes, inChunks, someBytes } from '../../support/bytes.ts';

const MIB = 1024 * 1024;
/** Around the sizes of parts, and of the hash's blocks. */
const SIZES = [0, 1, 65, 8 * MIB - 1, 8 * MIB, 8 * MIB + 1, 20 * MIB + 3];
let seeds = 0;

/** Bytes that no other test puts: stores of one test file share a bucket. */
function fresh(size = 1_000): Buffer {
  return someBytes(size, (process.pid << 12) + ++seeds);
}

/**
 * The rules of `ArtifactStore`, for one kind of store.
 *
 * @param open returns an empty store that is closed after the test; called again, one with the same content
 * @param renews false if it runs on an emulator that does not state when an object was renewed
 */
export function storeContract(name: string, open: () => Promise<ArtifactStore>, renews = true): void {
  describe(`${name} as a store`, () => {
    it.each(SIZES)('returns the %i bytes that were put', async (size) => {
      const store = await open();
      const bytes = fresh(size);
      const digest = digestOfBytes(bytes);
      const before = Date.now();
      const put = await store.put(digest, inChunks(bytes), size);
      expect(put.size).toBe(size);
      expect(put.stored_at).toBeGreaterThan(before - 60_000);
      expect(put.stored_at).toBeLessThan(Date.now() + 60_000);
      expect(await store.stat(digest)).toEqual(put);
      expect((await bytesOf(await store.get(digest))).equals(bytes)).toBe(true);
    });

    it('stores bytes whose size was not announced', async () => {
      const store = await open();
      for (const size of [0, 70, 9 * MIB]) {
        const bytes = fresh(size);
        expect(await store.put(digestOfBytes(bytes), inChunks(bytes))).toMatchObject({ size });
        expect((await bytesOf(await store.get(digestOfBytes(bytes)))).equals(bytes)).toBe(true);
      }
    });

    it('returns ranges', async () => {
      const store = await open();
      const bytes = fresh(17 * MIB);
      const digest = digestOfBytes(bytes);
      await store.put(digest, inChunks(bytes), bytes.length);
      for (const [start, end] of [
        [0, 0],
        [1, 5],
        [8 * MIB - 2, 8 * MIB + 1],
        [bytes.length - 1, bytes.length - 1],
      ] as const) {
        const part = await bytesOf(await store.get(digest, { start, end }));
        expect(part.equals(bytes.subarray(start, end + 1)), `${start} to ${end}`).toBe(true);
      }
    });

    it('has no blob that was not put', async () => {
      const store = await open();
      const digest = digestOfBytes(fresh());
      expect(await store.stat(digest)).toBeNull();
      await expect(store.get(digest)).rejects.toMatchObject({ code: 'unknown-blob' });
      await store.delete(digest);
    });

    it.each([10, 8 * MIB, 9 * MIB])('stores nothing of %i wrong bytes', async (size) => {
      const store = await open();
      const [wrong, right] = [fresh(size), fresh(size)];
      const digest = digestOfBytes(right);
      const mismatch = { code: 'checksum-mismatch' };
      await expect(store.put(digest, inChunks(wrong), size)).rejects.toMatchObject(mismatch);
      await expect(store.put(digest, inChunks(wrong))).rejects.toMatchObject(mismatch);
      await expect(store.put(digest, inChunks(right.subarray(1)), size)).rejects.toMatchObject(mismatch);
      await expect(store.put(digest, inChunks(Buffer.concat([right, right])), size)).rejects.toMatchObject(mismatch);
      expect(await store.stat(digest)).toBeNull();
    });

    it('refuses wrong bytes for a blob that exists, and keeps it', async () => {
      const store = await open();
      const bytes = fresh();
      const digest = digestOfBytes(bytes);
      await store.put(digest, inChunks(bytes), bytes.length);
      const mismatch = { code: 'checksum-mismatch' };
      await expect(store.put(digest, inChunks(fresh()), bytes.length)).rejects.toMatchObject(mismatch);
      await expect(store.put(digest, inChunks(fresh()))).rejects.toMatchObject(mismatch);
      expect((await bytesOf(await store.get(digest))).equals(bytes)).toBe(true);
    });

    it.each([100, 17 * MIB])('stores nothing if the sender leaves after %i bytes', async (size) => {
      const store = await open();
      const bytes = fresh(size + MIB);
      const digest = digestOfBytes(bytes);
      async function* leaving() {
        yield* inChunks(bytes.subarray(0, size));
        throw new Error('the sender left');
      }
      await expect(store.put(digest, leaving(), bytes.length)).rejects.toThrow('the sender left');
      expect(await store.stat(digest)).toBeNull();
      await store.put(digest, inChunks(bytes), bytes.length);
      expect((await bytesOf(await store.get(digest))).equals(bytes)).toBe(true);
    });

    it('stores nothing if it is aborted', async () => {
      const store = await open();
      const bytes = fresh(20 * MIB);
      const digest = digestOfBytes(bytes);
      const controller = new AbortController();
      async function* aborting() {
        yield* inChunks(bytes.subarray(0, 12 * MIB));
        controller.abort(new Error('stopped'));
        yield* inChunks(bytes.subarray(12 * MIB));
      }
      await expect(store.put(digest, aborting(), bytes.length, controller.signal)).rejects.toThrow('stopped');
      expect(await store.stat(digest)).toBeNull();
    });

    it('stores one blob that four put at the same time', async () => {
      const store = await open();
      const bytes = fresh(9 * MIB);
      const digest = digestOfBytes(bytes);
      const puts = Array.from({ length: 4 }, () => store.put(digest, inChunks(bytes), bytes.length));
      for (const put of await Promise.all(puts)) expect(put.size).toBe(bytes.length);
      expect((await bytesOf(await store.get(digest))).equals(bytes)).toBe(true);
    });

    it.runIf(renews)('renews the time of a blob that is put again', async () => {
      const store = await open();
      for (const size of [100, 9 * MIB]) {
        const bytes = fresh(size);
        const first = await store.put(digestOfBytes(bytes), inChunks(bytes), size);
        await sleep(1_100); // S3 and Azure state whole seconds
        const second = await store.put(digestOfBytes(bytes), inChunks(bytes), size);
        expect(second.stored_at, `${size} bytes`).toBeGreaterThan(first.stored_at);
        expect((await bytesOf(await store.get(digestOfBytes(bytes)))).equals(bytes)).toBe(true);
      }
    });

    it('lists what was put and not deleted', async () => {
      const store = await open();
      const blobs = Array.from({ length: 5 }, (_, i) => fresh(i));
      for (const bytes of blobs) await store.put(digestOfBytes(bytes), inChunks(bytes), bytes.length);
      await store.delete(digestOfBytes(blobs[2]!));
      const listed = new Map<string, { size: number; stored_at: number }>();
      for await (const { digest, ...stat } of store.list()) listed.set(digest, stat);
      for (const [i, bytes] of blobs.entries()) {
        const expected = i === 2 ? undefined : await store.stat(digestOfBytes(bytes));
        expect(listed.get(digestOfBytes(bytes))).toEqual(expected);
      }
    });

    it('closes what a reader leaves', async () => {
      const store = await open();
      const bytes = fresh(20 * MIB);
      const digest = digestOfBytes(bytes);
      await store.put(digest, inChunks(bytes), bytes.length);
      for (let i = 0; i < 100; i++) {
        const stream = await store.get(digest);
        await stream[Symbol.asyncIterator]().next();
        stream.destroy();
      }
      const unread = await store.get(digest);
      unread.destroy();
      expect((await bytesOf(await store.get(digest, { start: 0, end: 9 }))).equals(bytes.subarray(0, 10))).toBe(true);
    });
  });
}
