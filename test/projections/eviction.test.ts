import { readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pino } from 'pino';
import { expect, onTestFinished, test } from 'vitest';
import { onVolume } from '../../src/artifacts/artifacts.ts';
import { openVolumeStore } from '../../src/artifacts/stores/volume.ts';
import type { Digest } from '../../src/domain/digest.ts';
import { evict } from '../../src/projections/volume/eviction.ts';
import { startVolume } from '../../src/projections/volume/volume.ts';
import { digestOfBytes } from '../support/bytes.ts';
import { temporaryFolder } from '../support/folder.ts';
import { newLog } from './log-in-memory.ts';

const SIZE = 1_000;
const HOUR_MS = 3600_000;
const bytesOf = (version: string) => Buffer.alloc(SIZE, version);

/** A volume with the folders of versions that each have one file of 1,000 bytes; older versions were used earlier. */
async function volumeWith(...versions: string[]) {
  const volume = await temporaryFolder();
  const copies = await openVolumeStore(volume, 0);
  const log = newLog();
  for (const version of versions) {
    const digest = digestOfBytes(bytesOf(version));
    await copies.put(digest, Readable.from([bytesOf(version)]));
    log.publish(version, 'fraud', { digest, size: SIZE });
  }
  const options = { volume, artifacts: onVolume(copies), projector: log.projector, log: pino({ level: 'silent' }) };
  const files = startVolume(options);
  onTestFinished(() => files.close());
  await expect.poll(() => files.progress()).toEqual({ laid: versions.length, total: versions.length });
  await files.settled('fraud');
  const use = async (bytes: Buffer, hoursAgo: number) => {
    const time = new Date(Date.now() - hoursAgo * HOUR_MS);
    await utimes(copies.pathOf(digestOfBytes(bytes)), time, time);
  };
  for (const [i, version] of versions.entries()) await use(bytesOf(version), 100 - i);
  const folder = join(volume, 'models/fraud/versions');
  return {
    log,
    files,
    use,
    folder,
    put: (bytes: Buffer) => copies.put(digestOfBytes(bytes), Readable.from([bytes])),
    folders: async () => (await readdir(folder)).toSorted(),
    blobs: async () => (await readdir(join(volume, 'blobs/sha256'))).length,
    evict: (limit: number, isStored: (digest: Digest) => boolean = () => true) =>
      evict({
        volume,
        copies,
        readModel: log.readModel,
        isStored: async (digest) => isStored(digest),
        limit,
        remove: files.remove,
        now: Date.now(),
      }),
  };
}

test('deletes nothing that fits', async () => {
  const { evict, folders, blobs } = await volumeWith('1.0.0', '2.0.0');
  expect(await evict(2 * SIZE)).toBe(0);
  expect([await folders(), await blobs()]).toEqual([['1.0.0', '2.0.0'], 2]);
});

test('deletes what no folder links to, then the versions that were unused for longest, but none in use', async () => {
  const { evict, log, files, use, put, folder, folders, blobs } = await volumeWith('1.0.0', '2.0.0', '3.0.0', '4.0.0');
  log.activate('1.0.0');
  await files.settled('fraud');
  const loose = [Buffer.alloc(SIZE, 'a'), Buffer.alloc(SIZE, 'b')];
  for (const [i, bytes] of loose.entries()) {
    await put(bytes);
    await use(bytes, 3 - i);
  }
  expect(await evict(5 * SIZE)).toBe(SIZE);
  expect([await folders(), await blobs()]).toEqual([['1.0.0', '2.0.0', '3.0.0', '4.0.0'], 5]);
  expect(await evict(3 * SIZE)).toBe(2 * SIZE);
  expect([await folders(), await blobs()]).toEqual([['1.0.0', '3.0.0', '4.0.0'], 3]);
  expect(await evict(0)).toBe(SIZE);
  expect([await folders(), await blobs()]).toEqual([['1.0.0', '4.0.0'], 2]); // active and latest
  expect(await readFile(join(folder, '../active/production/model.joblib'))).toEqual(bytesOf('1.0.0'));
});

test('keeps what was used a moment ago, and folders with files of others', async () => {
  const { evict, use, put, folder, folders, blobs } = await volumeWith('1.0.0', '2.0.0', '3.0.0');
  await put(Buffer.from('just put'));
  await use(bytesOf('2.0.0'), 0);
  await writeFile(join(folder, '1.0.0/notes of somebody.txt'), 'mine');
  expect(await evict(0)).toBe(0);
  expect([await folders(), await blobs()]).toEqual([['1.0.0', '2.0.0', '3.0.0'], 4]);
});

test('keeps bytes that a version in use shares with one that is removed', async () => {
  const volume = await volumeWith('1.0.0', '2.0.0');
  const digest = digestOfBytes(bytesOf('1.0.0'));
  volume.log.publish('3.0.0', 'fraud', { digest, size: SIZE });
  await volume.files.settled('fraud');
  await volume.use(bytesOf('1.0.0'), 90);
  expect(await volume.evict(0)).toBe(SIZE);
  expect(await volume.folders()).toEqual(['3.0.0']);
  expect(await readFile(join(volume.folder, '3.0.0/model.joblib'))).toEqual(bytesOf('1.0.0'));
});

test('keeps a copy that the store lacks, with its folder, as long as a version needs it', async () => {
  const { evict, use, put, folders, blobs } = await volumeWith('1.0.0', '2.0.0', '3.0.0');
  const unused = Buffer.from('of no version');
  await put(unused);
  await use(unused, 1);
  const only = digestOfBytes(bytesOf('1.0.0'));
  expect(await evict(0, (digest) => digest === digestOfBytes(bytesOf('2.0.0')))).toBe(SIZE + unused.length);
  expect([await folders(), await blobs()]).toEqual([['1.0.0', '3.0.0'], 2]);
  expect(await evict(0, (digest) => digest === only)).toBe(SIZE);
  expect([await folders(), await blobs()]).toEqual([['3.0.0'], 1]); // latest
});

test('keeps a copy without a folder that the store lacks', async () => {
  const { evict, folder, blobs } = await volumeWith('1.0.0', '2.0.0');
  await rm(join(folder, '1.0.0'), { recursive: true });
  expect(await evict(0, () => false)).toBe(0);
  expect(await blobs()).toBe(2);
  expect(await evict(0)).toBe(SIZE);
});
