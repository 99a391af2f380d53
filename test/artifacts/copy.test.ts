import { appendFile, chmod, truncate, writeFile } from 'node:fs/promises';
import { expect, it } from 'vitest';
import { type Copied, type CopyOptions, copyBlobs } from '../../src/artifacts/copy.ts';
import type { ArtifactStore } from '../../src/artifacts/store.ts';
import { openFolderStore } from '../../src/artifacts/stores/folder.ts';
import type { Digest } from '../../src/domain/digest.ts';
import { Problem } from '../../src/domain/errors.ts';
import { bytesOf, digestOfBytes, inChunks, someBytes } from '../support/bytes.ts';
import { temporaryFolder } from '../support/folder.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

/** Two stores in folders, the first with a blob of each size. */
async function twoStores(sizes: number[]) {
  const from = await openFolderStore(await temporaryFolder());
  const to = await openFolderStore(await temporaryFolder());
  const blobs = new Map<Digest, Buffer>();
  for (const [i, size] of sizes.entries()) {
    const bytes = someBytes(size, i + 1);
    blobs.set(digestOfBytes(bytes), bytes);
    await from.put(digestOfBytes(bytes), inChunks(bytes), size);
  }
  const copy = (options: Partial<CopyOptions> = {}) =>
    copyBlobs({ from, to, verify: false, signal: new AbortController().signal, ...options });
  return { from, to, blobs, digests: [...blobs.keys()], copy };
}

async function expectWhole(store: ArtifactStore, blobs: Map<Digest, Buffer>): Promise<void> {
  for (const [digest, bytes] of blobs) expect((await bytesOf(await store.get(digest))).equals(bytes)).toBe(true);
}

const summary = ({ copied, there, gone, damaged, failed }: Copied) => ({ copied, there, gone, damaged, failed });
const nothingWrong = { gone: 0, damaged: [], failed: [] };

/** Replaces the bytes of a blob, as a disk may do it. */
async function overwrite(path: string, bytes: string): Promise<void> {
  await chmod(path, 0o644);
  await writeFile(path, bytes);
}

it('copies what the target lacks, and a repetition sends nothing', async () => {
  const { to, blobs, digests, copy } = await twoStores([0, 1, 300 * KIB, 3 * MIB]);
  await to.put(digests[1]!, inChunks(blobs.get(digests[1]!)!), 1);
  let seen = 0;
  const first = await copy({ progress: (bytes) => (seen += bytes) });
  expect(summary(first)).toEqual({ ...nothingWrong, copied: 3, there: 1 });
  expect([first.copied_bytes, seen]).toEqual([300 * KIB + 3 * MIB, 1 + 300 * KIB + 3 * MIB]);
  await expectWhole(to, blobs);
  const put = () => Promise.reject(new Error('it was sent again'));
  expect(summary(await copy({ to: { ...to, put } }))).toEqual({ ...nothingWrong, copied: 0, there: 4 });
});

it('continues after an interruption at any point', async () => {
  const { to, blobs, copy } = await twoStores(Array.from({ length: 30 }, (_, i) => (i % 5 === 0 ? 2 * MIB : 20 * KIB)));
  const total = [...blobs.values()].reduce((sum, { length }) => sum + length, 0);
  let sent = 0;
  let runs = 0;
  for (let complete = false; !complete; runs++) {
    const interrupted = new AbortController();
    let seen = 0;
    const progress = (bytes: number) => {
      seen += bytes;
      if (seen > (total / 6) * (runs + 1)) interrupted.abort(new Error('stopped'));
    };
    const put: typeof to.put = async (...blob) => {
      const stored = await to.put(...blob);
      sent++;
      return stored;
    };
    complete = await copy({ to: { ...to, put }, signal: interrupted.signal, progress }).then(
      () => true,
      (error: Error) => {
        expect(error.message).toBe('stopped');
        return false;
      },
    );
  }
  expect(runs).toBeGreaterThan(2);
  expect(sent).toBe(blobs.size);
  await expectWhole(to, blobs);
});

it('copies everything but what is damaged in the source', async () => {
  const { from, to, blobs, digests, copy } = await twoStores([10, 20, 2 * MIB, 40]);
  const [first, , third] = digests;
  await overwrite(from.pathOf(first!), '0123456789');
  await chmod(from.pathOf(third!), 0o644);
  await truncate(from.pathOf(third!), MIB);
  const result = await copy();
  expect(summary({ ...result, damaged: result.damaged.toSorted() })).toEqual({
    ...nothingWrong,
    copied: 2,
    there: 0,
    damaged: [first, third].toSorted(),
  });
  for (const digest of [first!, third!]) {
    blobs.delete(digest);
    expect(await to.stat(digest)).toBeNull();
  }
  await expectWhole(to, blobs);
});

it('replaces what the target has with another size, and with other bytes if they are to be compared', async () => {
  const { to, blobs, digests, copy } = await twoStores([100, 200]);
  await copy();
  await chmod(to.pathOf(digests[0]!), 0o644);
  await appendFile(to.pathOf(digests[0]!), 'more');
  await overwrite(to.pathOf(digests[1]!), 'x'.repeat(200));
  expect(summary(await copy())).toEqual({ ...nothingWrong, copied: 1, there: 1 });
  expect(summary(await copy({ verify: true }))).toEqual({ ...nothingWrong, copied: 1, there: 1 });
  await expectWhole(to, blobs);
});

it('deletes nothing of the target for a damaged source', async () => {
  const { from, to, blobs, digests, copy } = await twoStores([100]);
  await copy();
  await overwrite(from.pathOf(digests[0]!), 'cut');
  expect(summary(await copy({ verify: true }))).toEqual({ ...nothingWrong, copied: 0, there: 0, damaged: digests });
  await expectWhole(to, blobs);
});

it('is complete when nothing is left to copy, while blobs are published and deleted', async () => {
  const { from, to, blobs, digests, copy } = await twoStores(Array.from({ length: 40 }, () => 50 * KIB));
  let changed = 0;
  const change = async () => {
    const deleted = digests[changed]!;
    const bytes = someBytes(60 * KIB, 1_000 + changed);
    changed++;
    await from.delete(deleted);
    blobs.delete(deleted);
    await from.put(digestOfBytes(bytes), inChunks(bytes), bytes.length);
    blobs.set(digestOfBytes(bytes), bytes);
  };
  // Before each of the first reads, a blob is published, and another one deleted that may have been listed.
  const get: typeof from.get = async (...blob) => {
    if (changed < 20) await change();
    return from.get(...blob);
  };
  const results: Copied[] = [];
  do results.push(await copy({ from: { ...from, get } }));
  while (results.at(-1)!.copied > 0);
  for (const { damaged, failed } of results) expect({ damaged, failed }).toEqual({ damaged: [], failed: [] });
  expect(changed).toBe(20);
  await expectWhole(to, blobs);
});

it('counts a blob that was deleted after it was listed as gone', async () => {
  const { from, digests, copy } = await twoStores([10, 20]);
  const get: typeof from.get = async (digest, ...rest) => {
    if (digest === digests[0]) await from.delete(digest);
    return from.get(digest, ...rest);
  };
  expect(summary(await copy({ from: { ...from, get } }))).toEqual({ ...nothingWrong, copied: 1, there: 0, gone: 1 });
});

it('sends a limited number of large blobs at once', async () => {
  const { to, copy } = await twoStores([
    ...Array.from({ length: 8 }, () => 2 * MIB),
    ...Array.from({ length: 30 }, () => KIB),
  ]);
  const running = { large: 0, all: 0 };
  const most = { large: 0, all: 0 };
  const put: typeof to.put = async (digest, bytes, size, signal) => {
    const kinds = size! > MIB ? (['large', 'all'] as const) : (['all'] as const);
    for (const kind of kinds) most[kind] = Math.max(most[kind], ++running[kind]);
    try {
      return await to.put(digest, bytes, size, signal);
    } finally {
      for (const kind of kinds) running[kind]--;
    }
  };
  await copy({ to: { ...to, put } });
  expect(most.large).toBeGreaterThan(1);
  expect(most.large).toBeLessThanOrEqual(4);
  expect(most.all).toBeLessThanOrEqual(16);
});

it('goes on after failures, and gives up after many in a row', async () => {
  const { to, digests, copy } = await twoStores(Array.from({ length: 60 }, (_, i) => i));
  const away = new Problem('store-unavailable', 'The store is away.');
  const failing = digests.filter((_, i) => i % 5 === 0);
  const some: typeof to.put = (digest, ...rest) =>
    failing.includes(digest) ? Promise.reject(away) : to.put(digest, ...rest);
  const result = await copy({ to: { ...to, put: some } });
  expect(new Set(result.failed.map(({ digest }) => digest))).toEqual(new Set(failing));
  expect(result.copied).toBe(48);
  for (const digest of digests) await to.delete(digest);
  let asked = 0;
  const put = () => {
    asked++;
    return Promise.reject(away);
  };
  await expect(copy({ to: { ...to, put } })).rejects.toBe(away);
  expect(asked).toBeLessThan(40);
});

it('ends at once if the target is full', async () => {
  const { to, copy } = await twoStores([10]);
  const full = new Problem('volume-full', 'It is full.');
  await expect(copy({ to: { ...to, put: () => Promise.reject(full) } })).rejects.toBe(full);
});
