import { mkdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { parseStoreAddress } from '../../src/artifacts/address.ts';
import { openWriter } from '../../src/artifacts/writer.ts';
import { START } from '../../src/log/identity.ts';
import { writePosition } from '../../src/projections/volume/position-file.ts';
import { checkSource, openCommandStore, openScrubbed, passOwner } from '../../src/serve/stores.ts';
import { temporaryFolder } from '../support/folder.ts';

const LOG = 'a'.repeat(64);
const OTHER = 'b'.repeat(64);

function options(volume: string) {
  const writer = openWriter();
  onTestFinished(() => writer.close());
  return { volume, writer, openLog: () => Promise.reject(new Error('there is no log')) };
}

async function folderStore() {
  const folder = await temporaryFolder();
  const opened = await openCommandStore({ kind: 'file', folder }, options(folder));
  const volumeOf = (epoch: string | null) => writePosition(folder, { ...START, epoch });
  return { ...opened, folder, volumeOf };
}

it('makes a target belong to the log of the source, whether that is a store or a volume', async () => {
  const [from, to] = [await folderStore(), await folderStore()];
  await passOwner(from, to);
  expect(await to.store.owner()).toBeNull(); // it is claimed at the first start
  await from.store.own(LOG);
  await passOwner(from, to);
  expect(await to.store.owner()).toBe(LOG);
  const volume = await folderStore();
  await volume.volumeOf(LOG);
  const other = await folderStore();
  await passOwner(volume, other);
  expect(await other.store.owner()).toBe(LOG);
  await passOwner(other, volume);
  expect(await volume.store.owner()).toBeNull(); // its position says it
});

it('refuses a target that belongs to another log', async () => {
  const [from, to, volume] = [await folderStore(), await folderStore(), await folderStore()];
  await from.store.own(LOG);
  await to.store.own(OTHER);
  await volume.volumeOf(OTHER);
  for (const target of [to, volume]) {
    await expect(passOwner(from, target)).rejects.toMatchObject({
      code: 'store-unavailable',
      message: expect.stringContaining('another log'),
    });
  }
  expect(await to.store.owner()).toBe(OTHER);
});

it('passes on no empty log, and copies into an owned store what has no owner, such as a backup', async () => {
  const [from, to] = [await folderStore(), await folderStore()];
  await from.store.own('empty-2026-03-03T14:05:00Z');
  await passOwner(from, to);
  expect(await to.store.owner()).toBeNull();
  await to.store.own(OTHER);
  await passOwner(from, to);
  expect(await to.store.owner()).toBe(OTHER);
});

it('makes no folder for a mistyped source', async () => {
  const folder = join(await temporaryFolder(), 'typo');
  await expect(checkSource({ kind: 'file', folder }, '.')).rejects.toMatchObject({ code: 'not-found' });
  await expect(openScrubbed(parseStoreAddress('file:'), options(folder))).rejects.toMatchObject({ code: 'not-found' });
  await expect(stat(folder)).rejects.toMatchObject({ code: 'ENOENT' });
});

it('knows a volume as the store, however it is written, and a machine without a volume', async () => {
  const volume = await temporaryFolder();
  await mkdir(join(volume, 'blobs/sha256'), { recursive: true });
  for (const address of ['file:', `file:${volume}`, `file:///${volume}/../${volume.split('/').at(-1)}`]) {
    const { store, copies } = await openScrubbed(parseStoreAddress(address), options(volume));
    expect(store).toBe(copies);
  }
  const nowhere = join(volume, 'none');
  const { store, copies } = await openScrubbed(parseStoreAddress(`file:${volume}`), options(nowhere));
  expect(store).not.toBe(copies);
  await expect(stat(nowhere)).rejects.toMatchObject({ code: 'ENOENT' });
});
