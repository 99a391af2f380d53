import { chmod, copyFile, open, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pino } from 'pino';
import { expect, onTestFinished, test } from 'vitest';
import { onVolume, type Reads } from '../../src/artifacts/artifacts.ts';
import { openVolumeStore } from '../../src/artifacts/stores/volume.ts';
import { type Digest, sha256Hex } from '../../src/domain/digest.ts';
import { scrubBlob } from '../../src/projections/volume/repair.ts';
import { filesWith } from '../../src/projections/volume/version-files.ts';
import { startVolume } from '../../src/projections/volume/volume.ts';
import { temporaryFolder } from '../support/folder.ts';
import { newLog } from './log-in-memory.ts';

const BYTES = Buffer.from('the bytes of a model');
const DIGEST: Digest = `sha256:${sha256Hex(BYTES)}`;
const PUBLISHED_AT = new Date(Date.UTC(2026, 2, 3, 14, 5, 0));

/** A volume with one version, 1.0.0 of fraud, whose only file has `BYTES`. */
async function oneVersion() {
  const volume = await temporaryFolder();
  const store = await openVolumeStore(volume, 0);
  const log = newLog();
  const put = () => store.put(DIGEST, Readable.from([BYTES]));
  await put();
  log.publish('1.0.0', 'fraud', { digest: DIGEST, size: BYTES.length });
  const files = startVolume({
    volume,
    artifacts: onVolume(store),
    projector: log.projector,
    log: pino({ level: 'silent' }),
    retryMs: 50,
  });
  onTestFinished(() => files.close());
  await expect.poll(() => files.progress()).toEqual({ laid: 1, total: 1 });
  const file = join(volume, 'models/fraud/versions/1.0.0/model.joblib');
  const blob = store.pathOf(DIGEST);
  const stop = new AbortController().signal;
  return {
    files,
    store,
    file,
    blob,
    put,
    aside: join(volume, 'blobs/damaged', DIGEST.slice('sha256:'.length)),
    scrub: (from: Pick<typeof store, 'get'> = store, elsewhere?: Reads) => {
      const local = { ...store, ...from };
      const artifacts = onVolume(local, elsewhere && together(local, elsewhere));
      return scrubBlob(DIGEST, {
        volume,
        artifacts,
        files: (digest) => filesWith(digest, volume, log.readModel),
        check: ({ model, version }) => files.check(model, version),
        readStore: false,
        stop,
      });
    },
    scrubFolder: () => files.scrub('fraud', '1.0.0', stop),
    /** Replaces the link by a copy, as on a file system without links. */
    async copied() {
      await copyFile(blob, `${file}.copy`);
      await utimes(`${file}.copy`, PUBLISHED_AT, PUBLISHED_AT);
      await rename(`${file}.copy`, file);
    },
    linked: async () => (await stat(file)).ino === (await stat(blob)).ino,
  };
}

/** Reads a store, and what it lacks elsewhere. */
function together(store: Reads, elsewhere: Reads): Reads {
  return {
    stat: async (digest) => (await store.stat(digest)) ?? elsewhere.stat(digest),
    get: async (digest) => ((await store.stat(digest)) ? store : elsewhere).get(digest),
  };
}

/** Flips a bit of a file in place; its time of change stays, as if the disk had done it. */
async function damage(path: string): Promise<void> {
  const { atime, mtime } = await stat(path);
  await chmod(path, 0o644);
  const file = await open(path, 'r+');
  await file.write(Buffer.from([BYTES[4]! ^ 1]), 0, 1, 4);
  await file.close();
  await utimes(path, atime, mtime);
}

test('reads a blob again before it takes it for damaged: the memory may have been at fault', async () => {
  const { scrub, store, file, aside } = await oneVersion();
  let reads = 0;
  const get = async (digest: Digest) =>
    reads++ === 0 ? Readable.from([Buffer.from('other bytes')]) : store.get(digest);
  expect(await scrub({ get })).toBe('intact');
  expect(reads).toBe(2);
  expect(await readFile(file)).toEqual(BYTES);
  await expect(stat(aside)).rejects.toMatchObject({ code: 'ENOENT' });
});

test('leaves an intact blob as it is', async () => {
  const { scrub, linked } = await oneVersion();
  expect(await scrub()).toBe('intact');
  expect(await linked()).toBe(true);
});

test('moves a damaged blob aside with its links; the same bytes heal it', async () => {
  const { files, store, file, blob, aside, put, scrub, linked } = await oneVersion();
  await damage(blob);
  expect(await scrub()).toBe('lost');
  expect(await store.stat(DIGEST)).toBeNull();
  await expect(stat(file)).rejects.toThrow('ENOENT');
  expect(await readFile(aside)).not.toEqual(BYTES);
  expect(files.incomplete.first(10)).toMatchObject([{ model: 'fraud', version: '1.0.0', missing: 1 }]);
  await put();
  await expect.poll(() => files.incomplete.first(10)).toEqual([]);
  await expect.poll(() => readFile(file).catch(() => null)).toEqual(BYTES); // laid after it was looked at
  expect(await linked()).toBe(true);
  expect(await scrub()).toBe('intact');
});

test('restores a damaged blob from a copy in a folder', async () => {
  const { files, file, blob, copied, scrub } = await oneVersion();
  await copied();
  await damage(blob);
  expect(await scrub()).toBe('restored');
  expect([await readFile(blob), await readFile(file)]).toEqual([BYTES, BYTES]);
  expect([files.incomplete.first(10), files.problems()]).toEqual([[], []]);
});

test('restores a deleted blob from the link in a folder', async () => {
  const { blob, file, scrub, linked } = await oneVersion();
  await rm(blob);
  expect(await scrub()).toBe('restored');
  expect([await readFile(blob), await readFile(file)]).toEqual([BYTES, BYTES]);
  expect(await linked()).toBe(true);
});

test('takes nothing else from a folder, and does not remove it', async () => {
  const { files, blob, file, scrub } = await oneVersion();
  await rm(file);
  await writeFile(file, 'another content....!');
  await rm(blob);
  expect(await scrub()).toBe('missing');
  expect(await readFile(file, 'utf8')).toBe('another content....!');
  expect(files.incomplete.first(10)).toHaveLength(1);
});

test('continues after a crash between the blob and its links', async () => {
  const { store, blob, file, put, scrub, linked } = await oneVersion();
  await damage(blob);
  await store.setAside(DIGEST);
  expect(await scrub()).toBe('missing');
  await expect(stat(file)).rejects.toThrow('ENOENT');
  await put();
  await expect.poll(() => linked().catch(() => false)).toBe(true);
});

test('the check of a folder replaces a damaged copy, a removed link and a moved link', async () => {
  const { files, file, copied, scrubFolder, linked } = await oneVersion();
  await copied();
  await damage(file);
  await files.check('fraud', '1.0.0');
  expect(await readFile(file)).not.toEqual(BYTES); // it looks like the copy that was made
  await scrubFolder();
  expect(await readFile(file)).toEqual(BYTES);
  const latest = join(file, '../../../latest');
  await rm(file);
  await rm(latest);
  await scrubFolder();
  expect(await linked()).toBe(true);
  expect(await readFile(join(latest, 'model.joblib'))).toEqual(BYTES);
  expect(files.problems()).toEqual([]);
});

test('bytes that are elsewhere are intact without a copy, and restore a damaged one', async () => {
  const { blob, store, scrub, file, linked } = await oneVersion();
  const elsewhere = await openVolumeStore(await temporaryFolder(), 0);
  await elsewhere.put(DIGEST, Readable.from([BYTES]));
  await damage(blob);
  expect(await scrub(store, elsewhere)).toBe('restored');
  expect([await readFile(blob), await readFile(file)]).toEqual([BYTES, BYTES]);
  expect(await linked()).toBe(true);
  await rm(blob);
  expect(await scrub(store, elsewhere)).toBe('intact');
  await elsewhere.delete(DIGEST);
  expect(await scrub(store, elsewhere)).toBe('restored'); // from the folder
  await rm(blob);
  await rm(file);
  expect(await scrub(store, elsewhere)).toBe('missing');
});
