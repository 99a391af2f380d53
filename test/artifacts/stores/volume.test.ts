import { createHash } from 'node:crypto';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { openVolumeStore, type VolumeStore } from '../../../src/artifacts/stores/volume.ts';
import { openWriter } from '../../../src/artifacts/writer.ts';
import type { Digest } from '../../../src/domain/digest.ts';
import { temporaryFolder } from '../../support/folder.ts';

const MIB = 1024 * 1024;
const digestOf = (bytes: Uint8Array): Digest => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
const stored = Buffer.alloc(4 * MIB, 'stored');

/** Calls `beforeEnd` after the last chunk. */
async function* chunks(bytes: Buffer, beforeEnd?: () => Promise<void>) {
  for (let i = 0; i < bytes.length; i += MIB) yield bytes.subarray(i, i + MIB);
  await beforeEnd?.();
}

describe.each([
  ['on the event loop', () => undefined],
  ['on a thread', openWriter],
])('a store that hashes and writes %s', (_, makeWriter) => {
  async function open(volume: string, abandonedMs = 0): Promise<VolumeStore> {
    const writer = makeWriter();
    onTestFinished(() => writer?.close());
    return openVolumeStore(volume, 0, abandonedMs, writer);
  }

  it('writes and refuses wrong bytes in the same way, whether the blob exists or not', async () => {
    const volume = await temporaryFolder();
    const store = await open(volume);
    await store.put(digestOf(stored), chunks(stored));
    const uploads: number[] = [];
    for (const digest of [digestOf(stored), digestOf(Buffer.from('not stored'))]) {
      const wrong = Buffer.alloc(4 * MIB, 'wrong');
      const countUploads = async () => {
        const written = (await readdir(join(volume, 'blobs'))).filter((name) => name.startsWith('upload-'));
        uploads.push(written.length);
      };
      await expect(store.put(digest, chunks(wrong, countUploads))).rejects.toMatchObject({ code: 'checksum-mismatch' });
    }
    expect(uploads).toEqual([1, 1]);
    expect(await readdir(join(volume, 'blobs'))).toEqual(['sha256']);
  });

  it('keeps the file of a blob that is put again, because versions’ folders link to it', async () => {
    const store = await open(await temporaryFolder());
    const path = store.pathOf(digestOf(stored));
    await store.put(digestOf(stored), chunks(stored));
    const { ino } = await stat(path);
    await store.put(digestOf(stored), chunks(stored));
    expect((await stat(path)).ino).toBe(ino);
  });

  it('keeps the first file of a blob that several processes put at the same time', async () => {
    const volume = await temporaryFolder();
    const stores = await Promise.all(Array.from({ length: 4 }, () => open(volume, 3600_000)));
    const putAndStat = async (store: VolumeStore, bytes: Buffer) => {
      await store.put(digestOf(bytes), chunks(bytes));
      return (await stat(store.pathOf(digestOf(bytes)))).ino;
    };
    for (let i = 0; i < 300; i++) {
      const bytes = Buffer.from(`blob ${i}`);
      const files = await Promise.all(stores.map((store) => putAndStat(store, bytes)));
      expect(new Set(files).size, `blob ${i}`).toBe(1);
    }
  });
});
