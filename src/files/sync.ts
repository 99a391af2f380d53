import { open } from 'node:fs/promises';

/** Flushes a folder's entries to the disk: a rename is durable only after that. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
