import { type FileHandle, open } from 'node:fs/promises';

const BATCH_BYTES = 1024 * 1024;
const SYNC_EVERY_BYTES = 32 * 1024 * 1024;

/**
 * Writes what `batches` made into a new, read-only file, and has it on the disk before it resolves. A batch is written,
 * and from time to time synced, while the next bytes are still on their way: the last sync then has little left to do.
 *
 * @param needed asked once all is written; where it says no, the last sync is left out
 * @returns what `needed` said
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
      await writing; // so that the buffer filled next is not the one being written
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

/** A failure is told where the promise is awaited, which may be after the next bytes came. */
function settling(promise: Promise<void>): Promise<void> {
  promise.catch(() => {});
  return promise;
}

/**
 * The bytes in batches of 1 MiB, so that whoever handles them does so a thousand times a gigabyte and not sixteen
 * thousand. There are two buffers, by turns: a batch is good until the one after the next is asked for.
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
