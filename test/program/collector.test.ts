import { utimes } from 'node:fs/promises';
import { expect, it } from 'vitest';
import { createCollector, GRACE_MS } from '../../src/artifacts/collector.ts';
import { openVolumeStore } from '../../src/artifacts/volume-store.ts';
import type { Digest } from '../../src/domain/digest.ts';
import { temporaryFolder } from '../support/folder.ts';
import { sha256 } from './support.ts';

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

it('deletes what nothing refers to, after its grace', async () => {
  const { store: blobs, digests, there } = await store('referenced', 'unreferenced', 'pinned');
  const [referenced, unreferenced, pinned] = digests as [Digest, Digest, Digest];
  const collector = createCollector(blobs, () => new Set([referenced]));
  const unpin = collector.pin([pinned]);

  expect(await collector.collect(Date.now())).toBe(0);
  expect(await there()).toEqual([...digests].sort());
  expect(await collector.collect(LATER())).toBe(1);
  expect(await blobs.stat(unreferenced)).toBe(null);
  expect(await there()).toEqual([referenced, pinned].sort());

  unpin();
  expect(await collector.collect(LATER())).toBe(1);
  expect(await there()).toEqual([referenced]);
});

it('begins the grace anew where a blob is put again', async () => {
  const { store: blobs, digests, put, there } = await store('again', 'old');
  const old = new Date(Date.now() - 2 * GRACE_MS);
  for (const digest of digests) await utimes(blobs.pathOf(digest), old, old);
  await put('again');
  expect(await createCollector(blobs, () => new Set()).collect(Date.now())).toBe(1);
  expect(await there()).toEqual([digests[0]]);
});

it('keeps what is pinned twice until both let go', async () => {
  const { store: blobs, digests, there } = await store('twice');
  const collector = createCollector(blobs, () => new Set());
  const unpin = [collector.pin(digests), collector.pin(digests)];
  unpin[0]!();
  await collector.collect(LATER());
  expect(await there()).toEqual(digests);
  unpin[1]!();
  await collector.collect(LATER());
  expect(await there()).toEqual([]);
});

it('discards a refused publish’s blobs at once, but none that something refers to', async () => {
  const { store: blobs, digests, there } = await store('mine', 'taken up', 'pinned');
  const [, takenUp, pinned] = digests as [Digest, Digest, Digest];
  const collector = createCollector(blobs, () => new Set([takenUp]));
  collector.pin([pinned]);
  await collector.discard(digests);
  expect(await there()).toEqual([takenUp, pinned].sort());
});

it('sees a reference that came while it was running', async () => {
  const { store: blobs, digests, there } = await store('a', 'b', 'c');
  const referenced = new Set<Digest>();
  const collector = createCollector(blobs, () => {
    for (const digest of digests) referenced.add(digest); // all three are published at the first look
    return referenced;
  });
  expect(await collector.collect(LATER())).toBe(0);
  expect(await there()).toEqual([...digests].sort());
});
