import { execFile } from 'node:child_process';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { describeFolder } from '../../src/files/describe.ts';
import { listFiles } from '../../src/files/folder.ts';
import { temporaryFolder } from '../support/folder.ts';

async function folderOf(...paths: string[]): Promise<string> {
  const folder = await temporaryFolder();
  for (const path of paths) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), path);
  }
  return folder;
}

const pathsOf = async (folder: string) => (await describeFolder(folder)).artifacts.map(({ path }) => path);

describe('a folder to publish', () => {
  test('consists of all its files, except hidden files and Python’s cache', async () => {
    const folder = await folderOf('b.bin', 'a/z', 'a/c/d', '.git/config', '__pycache__/x.pyc', '.venv/pyvenv.cfg');
    expect(await pathsOf(folder)).toEqual(['a/c/d', 'a/z', 'b.bin']);
  });

  test('is refused with a virtual environment in it, whose path is named', async () => {
    const folder = await folderOf('model.joblib');
    await promisify(execFile)('python3', ['-m', 'venv', '--without-pip', join(folder, 'code/env')]);
    await expect(describeFolder(folder)).rejects.toThrow(`${join(folder, 'code/env')} is a Python virtual environment`);
    // An existing version with such a file stays valid.
    const published = await folderOf('env/pyvenv.cfg');
    expect(await listFiles(published)).toMatchObject([{ path: 'env/pyvenv.cfg' }]);
  });

  test('is refused with a link or a special file in it', async () => {
    const folder = await folderOf('model.joblib');
    await symlink('model.joblib', join(folder, 'latest.joblib'));
    await expect(describeFolder(folder)).rejects.toThrow(`${join(folder, 'latest.joblib')} is a link`);
    const other = await folderOf('model.joblib');
    await promisify(execFile)('mkfifo', [join(other, 'pipe')]);
    await expect(describeFolder(other)).rejects.toThrow(`${join(other, 'pipe')} is neither a file nor a folder`);
  });

  test('may have a thousand files, and is refused with more before any file is read', async () => {
    const folder = await folderOf(...Array.from({ length: 1000 }, (_, i) => `${i}.bin`));
    expect(await pathsOf(folder)).toHaveLength(1000);
    await writeFile(join(folder, 'more.bin'), '');
    await expect(describeFolder(folder)).rejects.toThrow(`${folder} has more than 1,000 files`);
  });

  test.each([
    ['is not valid on other systems', 'a:b.bin'],
    ['contains a line break', 'a\nb'],
    ['is too long', `${'a/'.repeat(511)}b.bin`],
  ])('is refused if a path %s, and the path is named', async (_, path) => {
    const folder = await folderOf(path);
    await expect(describeFolder(folder)).rejects.toThrow(`${join(folder, path)} cannot be published under this name`);
  });

  test('is refused for invalid fields with sentences, not with JSON', async () => {
    const folder = await folderOf('model.bin', 'Model.bin');
    const refused = describeFolder(folder);
    await expect(refused).rejects.toThrow(
      `${folder} cannot be published:\n✖ Model.bin equals (ignoring case) or contains another path`,
    );
    await expect(refused).rejects.not.toThrow(/[{}]/);
  });

  test('is refused if its manifest is too large, before a file is sent', async () => {
    const long = 'x'.repeat(240);
    const folder = await folderOf(...Array.from({ length: 900 }, (_, i) => `${long}${i}`));
    await expect(describeFolder(folder)).rejects.toThrow(/would have \d+ bytes; the maximum is 262144/);
  });
});
