import { open } from 'node:fs/promises';

/** Flushes a folder's entries to the disk: a rename is durable only after that. */
export function syncFolder(folder: string): Promise<void> {
  return sync(folder);
}

/** Flushes a file's bytes to the disk. */
export function syncFile(path: string): Promise<void> {
  return sync(path);
}

async function sync(path: string): Promise<void> {
  const handle = await open(path);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
