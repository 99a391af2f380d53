import { mkdir, rm, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { watchFolders } from '../../src/discovery/watched-folders.ts';
import { newLog } from '../projections/log-in-memory.ts';
import { temporaryFolder } from '../support/folder.ts';

/** A volume on which each change has a time of its own, all long ago for the watch; its scans are a second apart. */
async function newVolume() {
  const volume = await temporaryFolder();
  const log = newLog();
  let read = 0;
  const db = () => {
    read++;
    return log.readModel.db;
  };
  let changes = 0;
  let scans = 0;
  const folders = watchFolders(volume, db, () => Date.now() + scans * 1_000);
  return {
    log,
    async put(model: string, version: string) {
      const versions = join(volume, 'models', model, 'versions');
      await mkdir(join(versions, version), { recursive: true });
      await utimes(versions, ++changes, changes);
    },
    remove: (model: string) => rm(join(volume, 'models', model), { recursive: true }),
    async scan() {
      scans++;
      return (await folders.scan()).map(({ model, version }) => `${model} ${version}`).toSorted();
    },
    /** The number of folders that were read since the last call. */
    readSince: () => {
      const count = read;
      read = 0;
      return count;
    },
  };
}

test('lower versions come first, whatever order the folder has', async () => {
  const volume = await temporaryFolder();
  const log = newLog();
  const versions = ['1.10.0', '1.2.0', '2.0.0-rc.1', '2.0.0', '1.9.0', '0.1.0'];
  for (const version of versions) await mkdir(join(volume, 'versions', version), { recursive: true });
  await mkdir(join(volume, 'versions', 'not-a-version'));
  const found = await watchFolders(volume, () => log.readModel.db).scan();
  expect(found.map(({ version }) => version)).toEqual([
    'not-a-version',
    ...['0.1.0', '1.2.0', '1.9.0', '1.10.0', '2.0.0-rc.1', '2.0.0'],
  ]);
});

test('finds what is not published, and reads a folder again only after it changed', async () => {
  const { log, put, remove, scan, readSince } = await newVolume();
  log.publish('1.0.0', 'fraud');
  await put('fraud', '1.0.0');
  await put('fraud', '2.0.0');
  await put('churn', '1.0.0');
  expect(await scan()).toEqual(['churn 1.0.0', 'fraud 2.0.0']);
  expect(readSince()).toBe(2);
  expect(await scan()).toEqual(['churn 1.0.0', 'fraud 2.0.0']);
  expect(readSince()).toBe(0);
  await put('fraud', '3.0.0');
  expect(await scan()).toEqual(['churn 1.0.0', 'fraud 2.0.0', 'fraud 3.0.0']);
  expect(readSince()).toBe(1);
  await remove('churn');
  expect(await scan()).toEqual(['fraud 2.0.0', 'fraud 3.0.0']);
});

test('looks at a part of many models in each scan, and finds all in turn', async () => {
  const { put, scan } = await newVolume();
  for (let i = 0; i < 1_200; i++) await put(`m-${i}`, '1.0.0');
  const counts: number[] = [];
  for (let i = 0; i < 3; i++) counts.push((await scan()).length);
  expect(counts).toEqual([499, 999, 1_200]); // the default model, which has no folder, is one of the first 500
});
