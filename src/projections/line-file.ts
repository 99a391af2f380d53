import { type FileHandle, mkdir, open, readdir } from 'node:fs/promises';
import { dirname, join, parse } from 'node:path';
import { isErrno } from '../files/errno.ts';
import { syncFolder } from '../files/sync.ts';

/** The part at the end of a file that is read: longer than any line, since an event has at most 512 KiB. */
const TAIL_BYTES = 1024 * 1024;

/** All lines of a file start with the same bytes. */
const BEGINNING_BYTES = 8;

/**
 * Appends lines durably. The file is opened each time, so nothing is written to a file that was rotated away. If a crash or a
 * full disk left a part of a line at the end, it is removed first; other text there belongs to another program and stays.
 */
export async function appendLines(path: string, lines: readonly string[]): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const file = await open(path, 'a+', 0o640);
  try {
    const { size } = await file.stat();
    let text = lines.map((line) => `${line}\n`).join('');
    if (!(await endsWithLine(file, size))) {
      const { end, rest } = await tailOf(file);
      if (lines[0]!.startsWith(rest.toString('latin1', 0, BEGINNING_BYTES))) await file.truncate(end);
      else text = `\n${text}`;
    }
    await file.appendFile(text);
    await file.datasync();
    if (size === 0) await syncFolder(dirname(path));
  } finally {
    await file.close();
  }
}

/** Returns the complete lines at the end of a file, newest first; none if the file is missing. */
export async function lastLines(path: string): Promise<string[]> {
  try {
    const file = await open(path);
    try {
      return (await tailOf(file)).lines.reverse();
    } finally {
      await file.close();
    }
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'EISDIR')) return [];
    throw error;
  }
}

/** Returns the file and its rotations in the same folder: `a.log`, `a.log.1`, `a.log-20260303`, `a-20260303.log`. */
export async function rotationsOf(path: string): Promise<string[]> {
  const { dir, name, ext } = parse(path);
  const isRotation = (rest: string) =>
    rest === ext || rest.startsWith(`${ext}.`) || /^[.-]\d/.test(rest.replace(ext, ''));
  try {
    const names = await readdir(dir || '.');
    const rotations = names.filter((other) => other.startsWith(name) && isRotation(other.slice(name.length)));
    return rotations.map((other) => join(dir, other));
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return [];
    throw error;
  }
}

async function endsWithLine(file: FileHandle, size: number): Promise<boolean> {
  if (size === 0) return true;
  const { buffer } = await file.read(Buffer.alloc(1), { position: size - 1 });
  return buffer.toString() === '\n';
}

/** Returns the complete lines at the end of a file, the offset after the last of them, and the bytes from there. */
async function tailOf(file: FileHandle): Promise<{ lines: string[]; end: number; rest: Buffer }> {
  const { size } = await file.stat();
  if (size === 0) return { lines: [], end: 0, rest: Buffer.alloc(0) };
  const start = Math.max(size - TAIL_BYTES, 0);
  const { buffer, bytesRead } = await file.read(Buffer.alloc(size - start), { position: start });
  const bytes = buffer.subarray(0, bytesRead);
  const end = bytes.lastIndexOf('\n') + 1;
  const first = start === 0 ? 0 : bytes.indexOf('\n') + 1;
  const lines = bytes.subarray(first, end).toString('utf8').split('\n').slice(0, -1);
  return { lines, end: start + end, rest: bytes.subarray(end) };
}
