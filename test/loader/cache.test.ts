import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Digest } from '../../src/domain/digest.ts';
import { canonicalManifest, digestOf, Manifest } from '../../src/domain/manifest.ts';
import { type Cache, openCache } from '../../src/loader/cache.ts';
import { artifactsOf, type Files } from '../program/support.ts';
import { temporaryFolder } from '../support/folder.ts';
import { targetOf } from '../support/loaders.ts';
import { canMount, smallDisk } from './disk.ts';

function versionOf(files: Files) {
  const manifest = Manifest.parse({ artifacts: artifactsOf(files) });
  const text = canonicalManifest(manifest);
  return { files, manifest, text, digest: digestOf(text) };
}
type Version = ReturnType<typeof versionOf>;

const opened = (folder: string, limit = 1e9, reserve = 0) =>
  openCache({ folder, model: 'fraud', environment: 'production', limit, reserve });

async function* bytesOf(content: string | Uint8Array) {
  yield Buffer.from(content);
}

/** Does what a load does. Returns the version's folder and the paths that were fetched. */
async function fill(cache: Cache, { files, manifest, text, digest }: Version) {
  const fetched: string[] = [];
  await cache.manifest(digest, async () => text);
  for (const artifact of manifest.artifacts) {
    await cache.blob(artifact, () => {
      fetched.push(artifact.path);
      return bytesOf(files[artifact.path]!);
    });
  }
  return { folder: await cache.folder(digest, manifest), fetched };
}

const hexOf = (digest: Digest) => digest.slice('sha256:'.length);
const blobOf = (folder: string, { manifest }: Version, path = 'model.txt') =>
  join(folder, 'blobs/sha256', hexOf(manifest.artifacts.find((artifact) => artifact.path === path)!.digest));

/** Sets the times of files back by some hours. */
async function age(hours: number, ...paths: string[]) {
  const then = new Date(Date.now() - hours * 3600_000);
  for (const path of paths) await utimes(path, then, then);
}

describe('the cache', () => {
  it('fetches missing files once', async () => {
    const root = await temporaryFolder();
    const cache = await opened(root);
    const version = versionOf({ 'model.txt': 'one', 'deep/er.txt': 'more', 'same.txt': 'one', empty: '' });
    const { folder, fetched } = await fill(cache, version);
    expect(fetched).toEqual(['model.txt', 'deep/er.txt', 'empty']);
    expect(await readFile(join(folder, 'deep/er.txt'), 'utf8')).toBe('more');
    expect(await readFile(join(folder, 'same.txt'), 'utf8')).toBe('one');
    expect(await fill(cache, version)).toEqual({ folder, fetched: [] });
    expect(await fill(await opened(root), version)).toEqual({ folder, fetched: [] });
    expect(cache.counts).toEqual({ hits: 1, misses: 1 });
  });

  it('refuses bytes and manifests with another digest, and keeps nothing of them', async () => {
    const root = await temporaryFolder();
    const cache = await opened(root);
    const { manifest, text, digest } = versionOf({ 'model.txt': 'one' });
    const refused = { code: 'digest-mismatch' };
    for (const bytes of ['two', 'one!', 'on', '']) {
      await expect(cache.blob(manifest.artifacts[0]!, () => bytesOf(bytes))).rejects.toMatchObject(refused);
    }
    await expect(cache.manifest(digest, async () => `${text} `)).rejects.toMatchObject(refused);
    expect(await readdir(join(root, 'blobs/sha256'))).toEqual([]);
    expect(await readdir(join(root, 'blobs'))).toEqual(['sha256']);
    expect(await readdir(join(root, 'manifests'))).toEqual([]);
  });

  it('fetches damaged files again', async () => {
    const root = await temporaryFolder();
    const cache = await opened(root);
    const version = versionOf({ 'model.txt': 'one', 'other.txt': 'other' });
    await fill(cache, version);
    for (const damage of ['two', 'one and more', '']) {
      await writeFile(blobOf(root, version), damage);
      const { folder, fetched } = await fill(cache, version);
      expect(fetched).toEqual(['model.txt']);
      expect(await readFile(join(folder, 'model.txt'), 'utf8')).toBe('one');
    }
    const manifest = join(root, 'manifests', `${hexOf(version.digest)}.json`);
    for (const damage of ['', 'rubbish', version.text.slice(1)]) {
      await writeFile(manifest, damage);
      await fill(cache, version);
      expect(await readFile(manifest, 'utf8')).toBe(version.text);
    }
  });

  it('creates a version’s folder again if a file is missing', async () => {
    const root = await temporaryFolder();
    const cache = await opened(root);
    const version = versionOf({ 'model.txt': 'one', 'deep/er.txt': 'more' });
    const { folder } = await fill(cache, version);
    await rm(join(folder, 'deep'), { recursive: true });
    await fill(cache, version);
    expect(await readFile(join(folder, 'deep/er.txt'), 'utf8')).toBe('more');
    expect(await readdir(join(root, 'versions'))).toEqual([hexOf(version.digest)]);
  });

  it('stores the last good version for each model and environment', async () => {
    const root = await temporaryFolder();
    const cache = await opened(root);
    expect(await cache.lastGood()).toBeNull();
    const lastGood = { generation: 1, epoch: '5f70a1b2', revision: 9, id: 'opaque', target: targetOf('1.0.0', 8) };
    await cache.saveLastGood(lastGood);
    expect(await (await opened(root)).lastGood()).toEqual(lastGood);
    const staging = await openCache({ folder: root, model: 'fraud', environment: 'staging', limit: 0 });
    expect(await staging.lastGood()).toBeNull();
    for (const rubbish of ['', '{', 'null', '{"generation":1}', JSON.stringify({ ...lastGood, target: null })]) {
      await writeFile(join(root, 'last-good/fraud.production.json'), rubbish);
      expect(await cache.lastGood(), rubbish).toBeNull();
    }
  });
});

describe('a cache that processes share', () => {
  it('can be filled by several processes at the same time', async () => {
    const root = await temporaryFolder();
    const caches = await Promise.all([opened(root), opened(root), opened(root)]);
    const versions = Array.from({ length: 30 }, (_, i) => versionOf({ 'model.txt': `model ${i}`, 'same.txt': 'same' }));
    const work = async (cache: Cache) => {
      for (const version of versions) {
        const { folder } = await fill(cache, version);
        expect(await readFile(join(folder, 'model.txt'), 'utf8')).toBe(version.files['model.txt']);
        expect(await readFile(join(folder, 'same.txt'), 'utf8')).toBe('same');
      }
    };
    await Promise.all(caches.map(work));
    expect((await readdir(join(root, 'versions'))).toSorted()).toEqual(
      versions.map(({ digest }) => hexOf(digest)).toSorted(),
    );
    expect(await readdir(join(root, 'blobs'))).toEqual(['sha256']);
  });

  it('keeps what another process fetches in the meantime', async () => {
    const root = await temporaryFolder();
    const [slow, fast] = await Promise.all([opened(root), opened(root)]);
    const version = versionOf({ 'model.txt': 'one' });
    const reached = Promise.withResolvers<void>();
    const held = Promise.withResolvers<void>();
    const slowly = slow.blob(version.manifest.artifacts[0]!, async function* () {
      reached.resolve();
      await held.promise;
      yield* bytesOf('one');
    });
    await reached.promise;
    const { folder } = await fill(fast, version);
    held.resolve();
    await slowly;
    expect(await fill(slow, version)).toEqual({ folder, fetched: [] });
    expect(await readFile(join(folder, 'model.txt'), 'utf8')).toBe('one');
  });
});

describe('a sweep', () => {
  /** Versions of 1000 bytes each without common files; all unused for hours, the last one used last. */
  async function filled(limit: number, count = 3) {
    const root = await temporaryFolder();
    const cache = await opened(root, limit);
    const versions = Array.from({ length: count }, (_, i) =>
      versionOf({ 'model.txt': `${i}`.repeat(1000), 'same.txt': 'same' }),
    );
    for (const [i, version] of versions.entries()) {
      await fill(cache, version);
      await age(2, blobOf(root, version), blobOf(root, version, 'same.txt'));
      await age(10 - i, join(root, 'manifests', `${hexOf(version.digest)}.json`));
    }
    const left = async () => {
      const folders = await readdir(join(root, 'versions'));
      return versions
        .filter(({ digest }) => folders.includes(hexOf(digest)))
        .map((version) => versions.indexOf(version));
    };
    return { root, cache, versions, left };
  }

  it('deletes the versions that were unused for longest until the rest fits', async () => {
    const { root, cache, versions, left } = await filled(2_500);
    await cache.sweep([]);
    expect(await left()).toEqual([1, 2]);
    expect(existsSync(blobOf(root, versions[0]!))).toBe(false);
    expect((await readdir(join(root, 'manifests'))).length).toBe(2);
    expect((await fill(cache, versions[1]!)).fetched).toEqual([]);
    expect((await fill(cache, versions[0]!)).fetched).toEqual(['model.txt']);
  });

  it('keeps versions in use, whatever their size', async () => {
    const { root, cache, versions, left } = await filled(10);
    await cache.sweep([versions[0]!.digest]);
    expect(await left()).toEqual([0]);
    expect((await fill(cache, versions[0]!)).fetched).toEqual([]);
    expect(existsSync(blobOf(root, versions[0]!, 'same.txt'))).toBe(true);
  });

  it('goes by the last use, not by age', async () => {
    const { cache, versions, left } = await filled(1_500);
    await cache.touch(versions[1]!.digest);
    await cache.sweep([]);
    expect(await left()).toEqual([1]);
  });

  it('keeps young blobs, whose version another process may be fetching', async () => {
    const { root, cache, versions } = await filled(10);
    await age(0, blobOf(root, versions[0]!));
    await cache.sweep([]);
    expect(existsSync(blobOf(root, versions[0]!))).toBe(true);
    expect(existsSync(blobOf(root, versions[1]!))).toBe(false);
  });

  it('deletes unfinished files of crashed processes after a day', async () => {
    const { root, cache } = await filled(1e9);
    await mkdir(join(root, 'versions/.new-old'));
    await mkdir(join(root, 'versions/.new-young'));
    await writeFile(join(root, 'blobs/upload-old'), 'half');
    await writeFile(join(root, 'blobs/upload-young'), 'half');
    await age(25, join(root, 'versions/.new-old'), join(root, 'blobs/upload-old'));
    await opened(root);
    await cache.sweep([]);
    expect((await readdir(join(root, 'versions'))).filter((name) => name.startsWith('.'))).toEqual(['.new-young']);
    expect((await readdir(join(root, 'blobs'))).toSorted()).toEqual(['sha256', 'upload-young']);
  });

  it('continues if a manifest is damaged', async () => {
    const { root, cache, left } = await filled(1_500);
    await writeFile(join(root, 'manifests', `${'0'.repeat(64)}.json`), 'rubbish');
    await writeFile(join(root, 'manifests', 'rubbish'), 'rubbish');
    await cache.sweep([]);
    expect(await left()).toEqual([2]);
  });
});

describe.skipIf(!canMount)('on a full disk', () => {
  it('reports cache-full, leaves no incomplete file, and works when there is room again', async () => {
    const disk = await smallDisk(256);
    const cache = await opened(disk);
    const version = versionOf({ 'model.txt': 'x'.repeat(200 * 1024) });
    const ballast = join(disk, 'ballast');
    await writeFile(ballast, Buffer.alloc(100 * 1024));
    await expect(fill(cache, version)).rejects.toMatchObject({ code: 'cache-full' });
    expect(await readdir(join(disk, 'blobs'))).toEqual(['sha256']);
    expect(await readdir(join(disk, 'blobs/sha256'))).toEqual([]);
    await writeFile(ballast, '');
    await fill(cache, version);
  });

  it('reports cache-full for a manifest and for the last good version', async () => {
    const disk = await smallDisk(64);
    const cache = await opened(disk);
    await fill(cache, versionOf({ 'model.txt': 'one' }));
    await writeFile(join(disk, 'ballast'), Buffer.alloc(64 * 1024)).catch(() => {});
    const { digest, text } = versionOf({ 'model.txt': 'two' });
    await expect(cache.manifest(digest, async () => text)).rejects.toMatchObject({ code: 'cache-full' });
    const lastGood = { generation: 0, epoch: null, revision: 9, id: '', target: targetOf('1.0.0', 8) };
    await expect(cache.saveLastGood(lastGood)).rejects.toMatchObject({ code: 'cache-full' });
    expect((await readdir(join(disk, 'manifests'))).length).toBe(1);
    expect(await readdir(join(disk, 'last-good'))).toEqual([]);
  });

  it('reports cache-full for a folder with too many files for the disk', async () => {
    const disk = await smallDisk(1000, 30);
    const cache = await opened(disk);
    const names = Array.from({ length: 20 }, (_, i) => `${i}/model.txt`);
    const version = versionOf(Object.fromEntries(names.map((name) => [name, 'one'])));
    await expect(fill(cache, version)).rejects.toMatchObject({ code: 'cache-full' });
    expect(await readdir(join(disk, 'versions'))).toEqual([]);
  });
});
