import { type FileHandle, open } from 'node:fs/promises';

const BATCH_BYTES = 1024 * 1024;
const SYNC_EVERY_BYTES = 32 * 1024 * 1024;

/**
 * Writes the output of `batches` to a new, read-only file, and syncs it to disk before it resolves. Writes and syncs during
 * the transfer, while the next bytes are received, so that the last sync is short.
 *
 * @param needed called when all bytes are written; if it returns false, the last sync is left out
 * @returns the result of `needed`
 */
export async function writeDurably(
  path: string,
  bytes: AsyncIterable<Uint8Array>,
  needed: () => Promise<boolean> = async () => true,
): Promise<boolean> {
  const file = await open(path, 'wx', 0o444);
  let writing: Promise<void> = Promise.resolve();
  let syncing: Promise<void> = Promise.resolve();
  let unsynced = 0;
  try {
    for await (const batch of bytes) {
      await writing; // Otherwise the next buffer to fill could be the one that is being written.
      writing = settling(writeAll(file, batch));
      unsynced += batch.length;
      if (unsynced < SYNC_EVERY_BYTES) continue;
      unsynced = 0;
      await syncing;
      syncing = settling(file.datasync());
    }
    await Promise.all([writing, syncing]);
    const isNeeded = await needed();
    if (isNeeded) await file.sync();
    return isNeeded;
  } finally {
    await Promise.allSettled([writing, syncing]);
    await file.close();
  }
}

/** Prevents an unhandled rejection: the promise is awaited later, after the next bytes. */
function settling(promise: Promise<void>): Promise<void> {
  promise.catch(() => {});
  return promise;
}

/**
 * Yields the bytes in batches of 1 MiB, which makes 1,000 steps for a gigabyte instead of 16,000. Two buffers are used in
 * turn: a batch is valid until the second next one is requested.
 */
export async function* batches(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer> {
  let [filling, other] = [Buffer.allocUnsafe(BATCH_BYTES), Buffer.allocUnsafe(BATCH_BYTES)];
  let filled = 0;
  for await (const chunk of bytes) {
    for (let taken = 0; taken < chunk.length; ) {
      const part = chunk.subarray(taken, taken + BATCH_BYTES - filled);
      filling.set(part, filled);
      taken += part.length;
      filled += part.length;
      if (filled < BATCH_BYTES) continue;
      yield filling;
      [filling, other] = [other, filling];
      filled = 0;
    }
  }
  if (filled > 0) yield filling.subarray(0, filled);
}

async function writeAll(file: FileHandle, buffer: Uint8Array): Promise<void> {
  let written = 0;
  while (written < buffer.length) written += (await file.write(buffer, written)).bytesWritten;
}
