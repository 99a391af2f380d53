import { type FileHandle, open, rename, rm } from 'node:fs/promises';

/** Writes a file that appears under its name when it is whole and on the disk, and not before. */
export async function writeNewFile<T>(path: string, mode: number, fill: (file: FileHandle) => Promise<T>): Promise<T> {
  const temporary = `${path}.${process.pid}.part`;
  const file = await open(temporary, 'w', mode);
  try {
    const result = await fill(file).finally(() => file.sync().finally(() => file.close()));
    await rename(temporary, path);
    return result;
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}
