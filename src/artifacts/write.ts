import { type FileHandle, open } from 'node:fs/promises';

const BATCH_BYTES = 1024 * 1024;
const SYNC_EVERY_BYTES = 32 * 1024 * 1024;

/** Fills a new file. Awaits `wrote` with the size of each write, which bounds how much is not synced. */
export type Fill = (file: FileHandle, wrote: (size: number) => Promise<void>) => Promise<void>;

export interface WriteOptions {
  /** Called when all bytes are written; if it returns false, the last sync is left out. */
  needed?(): Promise<boolean>;
  /** Whether the bytes are appended to a writable file, which is created if it does not exist. */
  append?: boolean;
}

/**
 * Creates a read-only file, or appends to a file, and syncs it to disk before it resolves. Syncs during the transfer, while
 * the next bytes are received, so that the last sync is short.
 *
 * @returns the result of `needed`
 */
export async function writeDurably(
  path: string,
  fill: Fill,
  { needed = async () => true, append = false }: WriteOptions = {},
): Promise<boolean> {
  const file = await (append ? open(path, 'a', 0o600) : open(path, 'wx', 0o444));
  let syncing: Promise<void> = Promise.resolve();
  let unsynced = 0;
  try {
    await fill(file, async (size) => {
      unsynced += size;
      if (unsynced < SYNC_EVERY_BYTES) return;
      unsynced = 0;
      await syncing;
      syncing = settling(file.datasync());
    });
    await syncing;
    const isNeeded = await needed();
    if (isNeeded) await file.sync();
    return isNeeded;
  } finally {
    await Promise.allSettled([syncing]);
    await file.close();
  }
}

/** Writes each batch while the next one is received. */
export function fillWith(bytes: AsyncIterable<Uint8Array>): Fill {
  return async (file, wrote) => {
    let writing: Promise<void> = Promise.resolve();
    try {
      for await (const batch of bytes) {
        await writing; // Otherwise the next buffer to fill could be the one that is being written.
        writing = settling(writeAll(file, batch));
        await wrote(batch.length);
      }
      await writing;
    } finally {
      await Promise.allSettled([writing]);
    }
  };
}

/** Prevents an unhandled rejection: the promise is awaited later, after the next bytes. */
function settling(promise: Promise<void>): Promise<void> {
  promise.catch(() => {});
  return promise;
}

/**
 * Yields the bytes in batches of the size of the buffers that `next` returns. Batches of 1 MiB make 1,000 steps for a
 * gigabyte instead of 16,000. With the default, a batch is valid until the second next one is requested.
 */
export async function* batches(
  bytes: AsyncIterable<Uint8Array>,
  next: () => Buffer<ArrayBuffer> = inTurn(),
): AsyncGenerator<Buffer<ArrayBuffer>> {
  let filling: Buffer<ArrayBuffer> | null = null;
  let filled = 0;
  for await (const chunk of bytes) {
    for (let taken = 0; taken < chunk.length; ) {
      filling ??= next();
      const part = chunk.subarray(taken, taken + filling.length - filled);
      filling.set(part, filled);
      taken += part.length;
      filled += part.length;
      if (filled < filling.length) continue;
      yield filling;
      filling = null;
      filled = 0;
    }
  }
  if (filling) yield filling.subarray(0, filled);
}

/**
 * Returns two buffers in turn. For a body of a known, smaller `size` they have that size: with a megabyte for each small
 * body, the garbage collector would take more time than the writes.
 */
export function inTurn(size = BATCH_BYTES): () => Buffer<ArrayBuffer> {
  const length = Math.min(Math.max(size, 1), BATCH_BYTES);
  const buffers: Buffer<ArrayBuffer>[] = [];
  let used = 0;
  return () => {
    const turn = used++ % 2;
    buffers[turn] ??= Buffer.allocUnsafe(length);
    return buffers[turn];
  };
}

async function writeAll(file: FileHandle, buffer: Uint8Array): Promise<void> {
  let written = 0;
  while (written < buffer.length) written += (await file.write(buffer, written)).bytesWritten;
}
