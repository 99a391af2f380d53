import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { watchPublishedFolders } from '../../src/discovery/published-folders.ts';
import { newLog } from '../projections/log-in-memory.ts';
import { temporaryFolder } from '../support/folder.ts';

/** A volume with this many versions of a model; the clock of the watch is moved by hand. */
async function versions(count: number) {
  const volume = await temporaryFolder();
  const { readModel, publish } = newLog();
  const names = Array.from({ length: count }, (_, i) => `1.${i}.0`);
  const folder = (version: string) => join(volume, 'models/fraud/versions', version);
  for (const version of names) {
    publish(version);
    await mkdir(folder(version), { recursive: true });
  }
  const checked: string[] = [];
  let later = 0;
  const watch = () =>
    watchPublishedFolders({
      volume,
      db: () => readModel.db,
      check: async (_model, version) => void checked.push(version),
      closed: () => false,
      now: () => Date.now() + later,
    });
  /** Returns the versions that a scan checked. */
  const scanned = async (watched: ReturnType<typeof watch>) => {
    await watched.scan();
    return checked.splice(0);
  };
  /** Far more than the granularity of the file system's clock. */
  const wait = () => {
    later += 3600_000;
  };
  return { volume, names, folder, watch, scanned, wait };
}

test('a scan looks at a bounded number of folders, and a round at all', async () => {
  const { names, watch, scanned, wait } = await versions(450);
  const watched = watch();
  const first = [await scanned(watched), await scanned(watched), await scanned(watched)];
  expect(first.map(({ length }) => length)).toEqual([200, 200, 50]);
  expect(first.flat()).toEqual(names);
  wait();
  for (let i = 0; i < 6; i++) await scanned(watched); // the round that began before the wait, and one after it
  for (let i = 0; i < 3; i++) expect(await scanned(watched)).toEqual([]);
});

test('only a folder that changed since the last round is checked, also over a restart', async () => {
  const { volume, names, folder, watch, scanned } = await versions(3);
  expect(await scanned(watch())).toEqual(names);
  // A round that began an hour after the folders were made.
  await writeFile(join(volume, '.signalbox/discovery.json'), `{"round_started_at":${Date.now() + 3600_000}}`);
  expect(await scanned(watch())).toEqual([]);
  // A round that began an hour before something changed.
  await writeFile(join(volume, '.signalbox/discovery.json'), `{"round_started_at":${Date.now() - 3600_000}}`);
  await writeFile(join(folder('1.1.0'), 'extra'), 'x');
  expect(await scanned(watch())).toContain('1.1.0');
});

test.each(['', '{', '{"round_started_at":"x"}', 'null'])('with the file %s, every folder is checked', async (text) => {
  const { volume, names, watch, scanned } = await versions(2);
  await mkdir(join(volume, '.signalbox'), { recursive: true });
  await writeFile(join(volume, '.signalbox/discovery.json'), text);
  expect(await scanned(watch())).toEqual(names);
});

test('a folder that is not there is not checked: the volume may not have laid it yet', async () => {
  const { folder, watch, scanned } = await versions(2);
  await rm(folder('1.0.0'), { recursive: true });
  expect(await scanned(watch())).toEqual(['1.1.0']);
});
