import { chmod, copyFile, link, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { expect, it } from 'vitest';
import { noCopies } from '../../src/artifacts/copies.ts';
import { openFolderStore } from '../../src/artifacts/stores/folder.ts';
import type { Digest } from '../../src/domain/digest.ts';
import { Problem } from '../../src/domain/errors.ts';
import type { LogSource } from '../../src/proof/source.ts';
import { referencesIn } from '../../src/serve/references.ts';
import { type ScrubOptions, scrubStores } from '../../src/serve/scrub.ts';
import { newLog } from '../projections/log-in-memory.ts';
import { bytesOf, digestOfBytes } from '../support/bytes.ts';
import { temporaryFolder } from '../support/folder.ts';

const bytesOfVersion = (version: string) => Buffer.from(`the bytes of ${version}`);
const digestOf = (version: string) => digestOfBytes(bytesOfVersion(version));

/** A store with the only files of these versions of fraud, a volume with copies of them, and their log. */
async function published(...versions: string[]) {
  return publishedWith({}, ...versions);
}

/** The same, with further fields of each artifact. */
async function publishedWith(fields: { source?: string }, ...versions: string[]) {
  const volume = await temporaryFolder();
  const store = await openFolderStore(await temporaryFolder());
  const copies = await openFolderStore(volume);
  const log = newLog();
  for (const version of versions) {
    const bytes = bytesOfVersion(version);
    log.publish(version, 'fraud', { digest: digestOf(version), size: bytes.length, ...fields });
    for (const each of [store, copies]) await each.put(digestOf(version), Readable.from([bytes]), bytes.length);
  }
  const messages = log.messages.map(({ revision, model, body }) => {
    return { revision, subject: `registry.${model}`, stored_at: new Date(), body: Buffer.from(body) };
  });
  const source: LogSource = {
    name: 'a log in memory',
    generation: 0,
    head: messages.length,
    async *batches() {
      yield messages;
    },
    close: async () => {},
  };
  const { digests: referenced } = await referencesIn(source);
  const scrub = async (options: Partial<ScrubOptions> = {}) => {
    const { blobs, failed, bytes, ...counts } = await scrubStores({
      store,
      copies,
      volume,
      referenced,
      readLog: (use) => use(source),
      signal: new AbortController().signal,
      ...options,
    });
    return { counts, failed, blobs: blobs.map(({ files, ...blob }) => ({ ...blob, needed: files.length })) };
  };
  const onVolume = (options: Partial<ScrubOptions> = {}) => scrub({ store: copies, copies, ...options });
  const fileOf = (version: string) => join(volume, 'models/fraud/versions', version, 'model.joblib');
  return { store, copies, volume, scrub, onVolume, fileOf };
}

const counts = (some: Partial<Record<'intact' | 'restored' | 'lost' | 'missing', number>>) => ({
  intact: 0,
  restored: 0,
  lost: 0,
  missing: 0,
  ...some,
});

type Store = Awaited<ReturnType<typeof openFolderStore>>;

/** Replaces bytes in place, as if the disk had done it: hard links have them, too. */
async function damage(path: string): Promise<void> {
  const bytes = await readFile(path);
  bytes[4]! ^= 1;
  await chmod(path, 0o644);
  await writeFile(path, bytes);
}

const has = async (store: Store, version: string) =>
  (await bytesOf(await store.get(digestOf(version)))).equals(bytesOfVersion(version));

it('finds nothing in intact stores', async () => {
  const { scrub } = await published('1.0.0', '2.0.0');
  expect(await scrub()).toEqual({ counts: counts({ intact: 2 }), failed: [], blobs: [] });
});

it('repairs the store from copies, and copies from the store', async () => {
  const { store, copies, scrub } = await published('1.0.0', '2.0.0', '3.0.0', '4.0.0');
  await damage(store.pathOf(digestOf('1.0.0')));
  await store.delete(digestOf('2.0.0'));
  await damage(copies.pathOf(digestOf('3.0.0')));
  await copies.delete(digestOf('4.0.0')); // as an eviction does
  const found = await scrub();
  expect(found.counts).toEqual(counts({ intact: 1, restored: 3 }));
  expect(new Set(found.blobs.map(({ digest }) => digest))).toEqual(new Set(['1.0.0', '2.0.0', '3.0.0'].map(digestOf)));
  for (const version of ['1.0.0', '2.0.0', '3.0.0', '4.0.0']) expect(await has(store, version)).toBe(true);
  for (const version of ['1.0.0', '2.0.0', '3.0.0']) expect(await has(copies, version)).toBe(true);
  expect((await scrub()).counts).toEqual(counts({ intact: 4 }));
});

it('reports what cannot be repaired, deletes nothing of it from the store, and hands out no damaged copy', async () => {
  const { store, copies, scrub } = await published('1.0.0', '2.0.0', '3.0.0');
  for (const each of [store, copies]) await damage(each.pathOf(digestOf('1.0.0')));
  for (const each of [store, copies]) await each.delete(digestOf('2.0.0'));
  await damage(store.pathOf(digestOf('3.0.0')));
  await copies.delete(digestOf('3.0.0'));
  const found = await scrub();
  expect(found.counts).toEqual(counts({ lost: 2, missing: 1 }));
  expect(found.blobs).toContainEqual({ digest: digestOf('2.0.0'), result: 'missing', needed: 1 });
  for (const version of ['1.0.0', '3.0.0']) expect(await store.stat(digestOf(version))).not.toBeNull();
  expect(await copies.stat(digestOf('1.0.0'))).toBeNull();
  expect((await scrub()).counts).toEqual(counts({ lost: 2, missing: 1 }));
});

it('restores from the copy after an interruption between the deletion and the upload', async () => {
  const { store, copies, scrub } = await published('1.0.0');
  await damage(store.pathOf(digestOf('1.0.0')));
  const away = new Problem('store-unavailable', 'The store is away.');
  const { failed } = await scrub({ store: { ...store, put: () => Promise.reject(away) } });
  expect(failed).toEqual([{ digest: digestOf('1.0.0'), error: away }]);
  expect(await store.stat(digestOf('1.0.0'))).toBeNull();
  expect(await has(copies, '1.0.0')).toBe(true);
  expect((await scrub()).counts).toEqual(counts({ restored: 1 }));
  expect(await has(store, '1.0.0')).toBe(true);
});

it('reports every blob that it could not repair', async () => {
  const versions = Array.from({ length: 15 }, (_, i) => `1.0.${i}`);
  const { store, scrub } = await published(...versions);
  for (const version of versions) await damage(store.pathOf(digestOf(version)));
  const away = new Problem('store-unavailable', 'The store is away.');
  let asked = 0;
  const put = () => {
    asked++;
    return Promise.reject(away);
  };
  const { failed } = await scrub({ store: { ...store, put } });
  expect(failed.map(({ digest }) => digest).toSorted()).toEqual(versions.map(digestOf).toSorted());
  expect(asked).toBe(10);
});

it('sends nothing to the store that no version needs, and checks what is in it without a log or a volume', async () => {
  const { store, copies, scrub } = await published('1.0.0', '2.0.0');
  await copies.put(digestOf('other'), Readable.from([bytesOfVersion('other')]));
  await store.delete(digestOf('1.0.0'));
  await damage(store.pathOf(digestOf('2.0.0')));
  expect((await scrub({ referenced: null, copies: noCopies })).counts).toEqual(counts({ lost: 1 }));
  expect((await scrub({ referenced: null })).counts).toEqual(counts({ restored: 1 }));
  expect((await scrub()).counts).toEqual(counts({ intact: 1, restored: 1 }));
  expect(await store.stat(digestOf('other'))).toBeNull();
});

it('restores a store from a folder of a version, if there is no copy, and never from wrong bytes', async () => {
  const { store, copies, scrub, fileOf } = await published('1.0.0', '2.0.0', '3.0.0');
  for (const version of ['1.0.0', '2.0.0', '3.0.0']) {
    await mkdir(dirname(fileOf(version)), { recursive: true });
    await copyFile(copies.pathOf(digestOf(version)), fileOf(version));
    await copies.delete(digestOf(version));
  }
  await damage(store.pathOf(digestOf('1.0.0')));
  await store.delete(digestOf('2.0.0'));
  await damage(store.pathOf(digestOf('3.0.0')));
  await damage(fileOf('3.0.0'));
  expect((await scrub()).counts).toEqual(counts({ restored: 2, lost: 1 }));
  for (const version of ['1.0.0', '2.0.0']) expect(await has(store, version)).toBe(true);
  expect(await store.stat(digestOf('3.0.0'))).not.toBeNull();
});

it('counts no blob that was deleted since it was listed, and that no version needs', async () => {
  const { store, scrub } = await published('1.0.0');
  const list = async function* () {
    yield* store.list();
    yield { digest: digestOf('deleted'), size: 5, stored_at: 0 };
  };
  expect((await scrub({ store: { ...store, list } })).counts).toEqual(counts({ intact: 1 }));
});

it('sets a damaged blob of a volume aside, with its links', async () => {
  const { copies, volume, onVolume, fileOf } = await published('1.0.0');
  await mkdir(dirname(fileOf('1.0.0')), { recursive: true });
  await link(copies.pathOf(digestOf('1.0.0')), fileOf('1.0.0'));
  await damage(fileOf('1.0.0'));
  const lost = [{ digest: digestOf('1.0.0'), result: 'lost', needed: 1 }];
  expect(await onVolume()).toEqual({ counts: counts({ lost: 1 }), failed: [], blobs: lost });
  await expect(stat(fileOf('1.0.0'))).rejects.toMatchObject({ code: 'ENOENT' });
  expect(await readdir(join(volume, 'blobs/damaged'))).toHaveLength(1);
  expect((await onVolume()).counts).toEqual(counts({ missing: 1 }));
});

it('restores blobs of a volume from copies in folders of versions, and lays links again', async () => {
  const { copies, onVolume, fileOf } = await published('1.0.0', '2.0.0', '3.0.0');
  const blobOf = (version: string): string => copies.pathOf(digestOf(version));
  for (const version of ['1.0.0', '2.0.0']) {
    await mkdir(dirname(fileOf(version)), { recursive: true });
    await copyFile(blobOf(version), fileOf(version));
  }
  await damage(blobOf('1.0.0'));
  await rm(blobOf('2.0.0'));
  expect((await onVolume()).counts).toEqual(counts({ intact: 1, restored: 2 }));
  for (const version of ['1.0.0', '2.0.0']) expect(await has(copies, version)).toBe(true);

  // A lost blob that came back: the folder lacks its link.
  await rm(fileOf('1.0.0'));
  await mkdir(dirname(fileOf('3.0.0')), { recursive: true });
  await link(blobOf('3.0.0'), fileOf('3.0.0'));
  await damage(blobOf('3.0.0'));
  const store = await openFolderStore(await temporaryFolder());
  for (const version of ['1.0.0', '2.0.0', '3.0.0'])
    await store.put(digestOf(version), Readable.from([bytesOfVersion(version)]));
  expect((await onVolume({ store })).counts).toEqual(counts({ intact: 2, restored: 1 }));
  expect(await readFile(fileOf('3.0.0'))).toEqual(bytesOfVersion('3.0.0'));
  expect((await stat(fileOf('3.0.0'))).ino).toBe((await stat(blobOf('3.0.0'))).ino);
});

it('counts events that it cannot read', async () => {
  const body = Buffer.from(JSON.stringify({ specversion: '1.0' }));
  const read = await referencesIn({
    name: 'a log',
    generation: 0,
    head: 1,
    async *batches() {
      yield [{ revision: 1, subject: 'registry.fraud', stored_at: new Date(), body }];
    },
    close: async () => {},
  });
  expect(read).toEqual({ digests: new Set<Digest>(), unread: 1 });
});

it('looks for no bytes in the store that a version refers to elsewhere', async () => {
  const { store, copies, scrub } = await publishedWith({ source: 's3://datasets/model.onnx' }, '1.0.0');
  for (const each of [store, copies]) await each.delete(digestOf('1.0.0'));
  expect((await scrub()).counts).toEqual(counts({}));
});
