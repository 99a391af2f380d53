import { createHash } from 'node:crypto';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { openVolumeStore } from '../../../src/artifacts/stores/volume.ts';
import type { Digest } from '../../../src/domain/digest.ts';
import { temporaryFolder } from '../../support/folder.ts';

const MIB = 1024 * 1024;
const digestOf = (bytes: Uint8Array): Digest => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
const there = Buffer.alloc(4 * MIB, 'there');

async function* chunks(bytes: Buffer, between?: () => Promise<void>) {
  for (let i = 0; i < bytes.length; i += MIB) yield bytes.subarray(i, i + MIB);
  await between?.();
}

it('wrong bytes take the same way for a blob that is there as for one that is not', async () => {
  const volume = await temporaryFolder();
  const store = await openVolumeStore(volume);
  await store.put(digestOf(there), chunks(there));
  const ways: unknown[] = [];
  for (const digest of [digestOf(there), digestOf(Buffer.from('not there'))]) {
    const wrong = Buffer.alloc(4 * MIB, 'wrong');
    const look = async () => {
      const written = (await readdir(join(volume, 'blobs'))).filter((name) => name.startsWith('upload-'));
      ways.push(written.length);
    };
    await expect(store.put(digest, chunks(wrong, look))).rejects.toMatchObject({ code: 'checksum-mismatch' });
  }
  expect(ways).toEqual([1, 1]);
  expect(await readdir(join(volume, 'blobs'))).toEqual(['sha256']);
});

it('a blob that is put again stays the same file, which folders of versions link to', async () => {
  const store = await openVolumeStore(await temporaryFolder());
  const path = store.pathOf(digestOf(there));
  await store.put(digestOf(there), chunks(there));
  const { ino } = await stat(path);
  await store.put(digestOf(there), chunks(there));
  expect((await stat(path)).ino).toBe(ino);
});
