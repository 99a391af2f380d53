import { mkdir, readdir, utimes, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { expect, it } from 'vitest';
import { createCollector, GRACE_MS } from '../../src/artifacts/collector.ts';
import { openVolumeStore } from '../../src/artifacts/stores/volume.ts';
import type { Digest } from '../../src/domain/digest.ts';
import { temporaryFolder } from '../support/folder.ts';
import { startProgram } from '../support/program.ts';
import { sha256, until, volumeFolder } from './support.ts';

async function store(...contents: string[]) {
  const store = await openVolumeStore(await temporaryFolder(), 0);
  const put = async (content: string) => {
    const digest = sha256(content) as Digest;
    await store.put(digest, chunks(content));
    return digest;
  };
  const digests: Digest[] = [];
  for (const content of contents) digests.push(await put(content));
  const there = async () => {
    const found: string[] = [];
    for await (const { digest } of store.list()) found.push(digest);
    return found.sort();
  };
  return { store, digests, put, there };
}

async function* chunks(content: string) {
  yield Buffer.from(content);
}

const LATER = () => Date.now() + GRACE_MS + 60_000;

it('deletes unreferenced blobs after the grace period', async () => {
  const { store: blobs, digests, there } = await store('referenced', 'unreferenced', 'pinned');
  const [referenced, unreferenced, pinned] = digests as [Digest, Digest, Digest];
  const collector = createCollector(blobs, { isReferenced: (digest) => digest === referenced, complete: () => true });
  const unpin = await collector.pin([pinned]);

  expect(await collector.collect(Date.now())).toBe(0);
  expect(await there()).toEqual([...digests].sort());
  expect(await collector.collect(LATER())).toBe(1);
  expect(await blobs.stat(unreferenced)).toBe(null);
  expect(await there()).toEqual([referenced, pinned].sort());

  unpin();
  expect(await collector.collect(LATER())).toBe(1);
  expect(await there()).toEqual([referenced]);
});

it('restarts the grace period of a blob that is put again', async () => {
  const { store: blobs, digests, put, there } = await store('again', 'old');
  const old = new Date(Date.now() - 2 * GRACE_MS);
  for (const digest of digests) await utimes(blobs.pathOf(digest), old, old);
  await put('again');
  expect(await createCollector(blobs, { isReferenced: () => false, complete: () => true }).collect(Date.now())).toBe(1);
  expect(await there()).toEqual([digests[0]]);
});

it('keeps a blob that is being put again, however long that takes', async () => {
  const { store: blobs, digests, there } = await store('again');
  const old = new Date(Date.now() - 2 * GRACE_MS);
  await utimes(blobs.pathOf(digests[0]!), old, old);
  const collector = createCollector(blobs, { isReferenced: () => false, complete: () => true });
  async function* slowly() {
    yield Buffer.from('aga');
    await collector.collect(Date.now());
    yield Buffer.from('in');
  }
  expect(await blobs.put(digests[0]!, slowly())).toMatchObject({ size: 5 });
  expect(await there()).toEqual(digests);
});

it('keeps a blob that is pinned twice until both pins are released', async () => {
  const { store: blobs, digests, there } = await store('twice');
  const collector = createCollector(blobs, { isReferenced: () => false, complete: () => true });
  const unpin = [await collector.pin(digests), await collector.pin(digests)];
  unpin[0]!();
  await collector.collect(LATER());
  expect(await there()).toEqual(digests);
  unpin[1]!();
  await collector.collect(LATER());
  expect(await there()).toEqual([]);
});

it('sees a reference that is added while it runs', async () => {
  const { store: blobs, digests, there } = await store('a', 'b', 'c');
  let looks = 0;
  const collector = createCollector(blobs, { isReferenced: () => looks++ > 0, complete: () => true });
  expect(await collector.collect(LATER())).toBe(1); // the one that was looked at before
  expect(await there()).toHaveLength(digests.length - 1);
});

it('lets nobody rely on a blob whose deletion has begun', async () => {
  const { store: blobs, digests, there } = await store('deleted slowly');
  const held = Promise.withResolvers<void>();
  const begun = Promise.withResolvers<void>();
  const slow = {
    ...blobs,
    async delete(digest: Digest) {
      begun.resolve();
      await held.promise;
      await blobs.delete(digest);
    },
  };
  const collector = createCollector(slow, { isReferenced: () => false, complete: () => true });
  const collecting = collector.collect(LATER());
  await begun.promise;
  let isPinned = false;
  const pinning = collector.pin(digests).then(async (unpin) => {
    isPinned = true;
    expect(await there()).toEqual([]);
    unpin();
  });
  await new Promise(setImmediate);
  expect(isPinned).toBe(false);
  held.resolve();
  await pinning;
  expect(await collecting).toBe(1);
});

it('lets nobody rely on a blob whose deletion has no outcome, until it cannot happen any more', async () => {
  const { store: blobs, digests } = await store('deleted perhaps');
  const failing = { ...blobs, delete: () => Promise.reject(new Error('no answer')) };
  const references = { isReferenced: () => false, complete: () => true };
  const collector = createCollector(failing, references);
  await expect(collector.collect(LATER())).rejects.toThrow('no answer');
  await expect(collector.pin(digests)).rejects.toMatchObject({ code: 'store-unavailable' });
  const later = createCollector(failing, references, 0);
  await expect(later.collect(LATER())).rejects.toThrow('no answer');
  (await later.pin(digests))();
});

it('ends what interrupted uploads left in the store more than a grace period ago', async () => {
  const { store: blobs } = await store();
  const swept: number[] = [];
  const sweepUploads = async (before: number) => swept.push(before);
  const references = { isReferenced: () => false, complete: () => true };
  await createCollector({ ...blobs, sweepUploads }, references).collect(GRACE_MS + 5);
  expect(swept).toEqual([5]);
});

it('collects nothing while the read model may lack versions', async () => {
  const { store: blobs, digests, there } = await store('of a version that cannot be read');
  const collector = createCollector(blobs, { isReferenced: () => false, complete: () => false });
  expect(await collector.collect(LATER())).toBe(0);
  expect(await there()).toEqual(digests);
});

it('runs at every start, because a registry that is restarted often would not reach the next hour', async () => {
  const folder = await volumeFolder();
  const old = join(folder, 'blobs/sha256', sha256('old').slice('sha256:'.length));
  await mkdir(dirname(old), { recursive: true });
  await writeFile(old, 'old');
  const longAgo = new Date(Date.now() - GRACE_MS - 60_000);
  await utimes(old, longAgo, longAgo);
  await startProgram(folder);
  await until(async () => !(await readdir(dirname(old))).includes(basename(old)));
});
