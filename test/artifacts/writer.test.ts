import { createHash } from 'node:crypto';
import { open, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import fc from 'fast-check';
import { expect, it, onTestFinished } from 'vitest';
import { openVolumeStore } from '../../src/artifacts/stores/volume.ts';
import { openWriter } from '../../src/artifacts/writer.ts';
import type { Digest } from '../../src/domain/digest.ts';
import { temporaryFolder } from '../support/folder.ts';

const BATCH = 256 * 1024;
const digestOf = (bytes: Uint8Array): Digest => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
/** Bytes that differ everywhere, so that a lost or repeated batch changes their digest. */
const bytesOf = (size: number, seed: number) =>
  Buffer.from(new Uint32Array(Math.ceil(size / 4)).map((_, i) => i * seed).buffer, 0, size);
const ended = { code: 'internal', message: expect.stringContaining('The thread that writes uploads has ended.') };

async function started(thread?: URL) {
  const writer = openWriter(thread);
  onTestFinished(() => writer.close());
  const volume = await temporaryFolder();
  const store = await openVolumeStore(volume, 0, 0, writer);
  const unfinished = async () => (await readdir(join(volume, 'blobs'))).filter((name) => name !== 'sha256');
  return { writer, store, unfinished };
}

/** Yields chunks of these sizes in turn; then calls `beforeEnd`. */
async function* chunks(bytes: Uint8Array, sizes = [64 * 1024], beforeEnd?: () => unknown) {
  for (let start = 0, i = 0; start < bytes.length; start += sizes[i++ % sizes.length]!) {
    await turn();
    yield bytes.subarray(start, start + sizes[i % sizes.length]!);
  }
  await beforeEnd?.();
}

it('writes and hashes a body of any size in chunks of any size', async () => {
  const { store } = await started();
  const size = fc
    .tuple(fc.nat(7), fc.integer({ min: -2, max: 2 }))
    .map(([batches, more]) => Math.max(0, batches * BATCH + more));
  const sizes = fc.array(
    fc.oneof(fc.constant(BATCH), fc.constant(64 * 1024), fc.integer({ min: 10_000, max: 600_000 })),
    {
      minLength: 1,
      maxLength: 5,
    },
  );
  await fc.assert(
    fc.asyncProperty(size, sizes, fc.boolean(), fc.integer({ min: 1 }), async (size, sizes, isAnnounced, seed) => {
      const bytes = bytesOf(size, seed);
      const digest = digestOf(bytes);
      const stored = await store.put(digest, chunks(bytes, sizes), isAnnounced ? size : undefined);
      expect(stored.size).toBe(size);
      expect((await readFile(store.pathOf(digest))).equals(bytes)).toBe(true);
      await store.delete(digest);
    }),
    { numRuns: 50 },
  );
});

it('keeps bodies apart that arrive at the same time, some of them wrong or cut', async () => {
  const { store, unfinished } = await started();
  const uploads = Array.from({ length: 30 }, (_, i) => ({ kind: i % 3, bytes: bytesOf(1_000_000 + i, i + 1) }));
  const put = ({ kind, bytes }: (typeof uploads)[number]) => {
    const cut = () => {
      throw new Error('cut');
    };
    if (kind === 0) return store.put(digestOf(bytes), chunks(bytes), bytes.length);
    if (kind === 1) return store.put(digestOf(bytes.subarray(1)), chunks(bytes), bytes.length);
    return store.put(digestOf(bytes), chunks(bytes, [100_000], cut));
  };
  const results = await Promise.allSettled(uploads.map(put));
  const reasons = results.map((result) =>
    result.status === 'rejected' ? (result.reason.code ?? result.reason.message) : 'stored',
  );
  expect(reasons).toEqual(uploads.map(({ kind }) => ['stored', 'checksum-mismatch', 'cut'][kind]));
  expect(await unfinished()).toEqual([]);
  for (const { kind, bytes } of uploads) {
    if (kind === 0) expect((await readFile(store.pathOf(digestOf(bytes)))).equals(bytes)).toBe(true);
    else expect(await store.stat(digestOf(bytes))).toBe(null);
  }
});

it.each([
  ['more', 3 * BATCH - 1, `more than ${3 * BATCH - 1}`],
  ['fewer', 3 * BATCH + 1, String(3 * BATCH)],
])('refuses %s bytes than announced', async (_, size, actual) => {
  const { store, unfinished } = await started();
  const bytes = bytesOf(3 * BATCH, 1);
  const put = store.put(digestOf(bytes), chunks(bytes), size);
  await expect(put).rejects.toMatchObject({ code: 'checksum-mismatch', fields: { expected: size, actual } });
  expect(await unfinished()).toEqual([]);
});

it.runIf(process.platform === 'linux')('reports a full disk with the code of the operating system', async () => {
  const { writer } = await started();
  const full = await open('/dev/full', 'w');
  onTestFinished(() => full.close());
  const writing = writer.write(full, chunks(bytesOf(20 * BATCH, 1)), async () => {});
  await expect(writing).rejects.toMatchObject({ code: 'ENOSPC' });
});

it('a thread that fails fails its uploads, and the next one starts another', async () => {
  const { store, unfinished } = await started(new URL('./threads/fails-at-four-bytes.ts', import.meta.url));
  const bytes = bytesOf(8 * BATCH, 1);
  const fails = bytesOf(4, 1);
  const failing = store.put(digestOf(fails), chunks(fails));
  const beside = store.put(
    digestOf(bytes),
    chunks(bytes, [BATCH], () => failing.catch(() => {})),
  );
  // Both fail at the same moment, so each must have a handler by then.
  const [first, second] = await Promise.allSettled([failing, beside]);
  const reason = expect.objectContaining({
    ...ended,
    cause: expect.objectContaining({ message: 'failed on purpose' }),
  });
  expect([first, second]).toEqual([
    { status: 'rejected', reason },
    { status: 'rejected', reason },
  ]);
  expect(await unfinished()).toEqual([]);
  expect(await store.put(digestOf(bytes), chunks(bytes))).toMatchObject({ size: bytes.length });
});

it('a thread that fails also fails the uploads that wait for it', async () => {
  const { store, unfinished } = await started(new URL('./threads/gives-nothing-back.ts', import.meta.url));
  const uploads = Array.from({ length: 10 }, (_, i) => bytesOf(8 * BATCH, i + 1));
  const results = await Promise.allSettled(uploads.map((bytes) => store.put(digestOf(bytes), chunks(bytes))));
  expect(results).toEqual(uploads.map(() => ({ status: 'rejected', reason: expect.objectContaining(ended) })));
  expect(await unfinished()).toEqual([]);
});

it('a thread that does not start fails the upload', async () => {
  const { store, unfinished } = await started(new URL('./missing-thread.ts', import.meta.url));
  const bytes = bytesOf(8 * BATCH, 1);
  await expect(store.put(digestOf(bytes), chunks(bytes))).rejects.toMatchObject(ended);
  expect(await unfinished()).toEqual([]);
});

it('a body that is received when the writer is closed fails, and so does a later one', async () => {
  const { writer, store, unfinished } = await started();
  const bytes = bytesOf(8 * BATCH, 1);
  const closing = store.put(
    digestOf(bytes),
    chunks(bytes, [BATCH], () => writer.close()),
  );
  await expect(closing).rejects.toMatchObject(ended);
  await expect(store.put(digestOf(bytes), chunks(bytes))).rejects.toMatchObject(ended);
  expect(await unfinished()).toEqual([]);
});

it('a small body does not need the thread', async () => {
  const { writer, store } = await started();
  await writer.close();
  const bytes = bytesOf(BATCH, 1);
  expect(await store.put(digestOf(bytes), chunks(bytes), bytes.length)).toMatchObject({ size: bytes.length });
});
