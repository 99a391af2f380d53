import { mkdir, readdir, readFile, readlink, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pino } from 'pino';
import { expect, onTestFinished, test } from 'vitest';
import { onVolume } from '../../src/artifacts/artifacts.ts';
import { openVolumeStore, type VolumeStore } from '../../src/artifacts/stores/volume.ts';
import { type Digest, sha256Hex } from '../../src/domain/digest.ts';
import { readPosition } from '../../src/projections/volume/position-file.ts';
import type { LaidVersions } from '../../src/projections/volume/versions.ts';
import { startVolume, type VolumeProjection } from '../../src/projections/volume/volume.ts';
import { temporaryFolder } from '../support/folder.ts';
import { newLog } from './log-in-memory.ts';

const RETRY_MS = 50;

/** A volume of a log in memory; a version's only file has its model and version as content. */
async function newVolume() {
  const volume = await temporaryFolder();
  const store = await openVolumeStore(volume);
  const log = newLog();
  const looked: Digest[] = [];
  /** Digests whose versions are not brought up to date until it is resolved. */
  const slow = new Map<Digest, Promise<void>>();
  let onLook = async () => {};
  const observed: VolumeStore = {
    ...store,
    async stat(digest) {
      looked.push(digest);
      await onLook();
      await slow.get(digest);
      return store.stat(digest);
    },
  };
  const digestOf = (version: string, model: string): Digest => `sha256:${sha256Hex(Buffer.from(model + version))}`;
  /** Starts without waiting for any file. */
  const begin = (laid: LaidVersions = 'all') => {
    const options = { volume, artifacts: onVolume(observed), projector: log.projector, log: pino({ level: 'silent' }) };
    const files = startVolume({ ...options, laid, retryMs: RETRY_MS });
    onTestFinished(() => files.close());
    return files;
  };
  return {
    volume,
    log,
    looked,
    begin,
    /** Starts, and waits until every folder was looked at. */
    async start(laid: LaidVersions = 'all') {
      const files = begin(laid);
      await complete(files);
      return files;
    },
    /** Calls it whenever a folder is worked on. */
    whenLooking(listener: () => Promise<void>) {
      onLook = listener;
    },
    digestOf,
    async put(version: string, model: string) {
      await store.put(digestOf(version, model), Readable.from([Buffer.from(model + version)]));
    },
    publish(version: string, model: string) {
      log.publish(version, model, { digest: digestOf(version, model), size: Buffer.byteLength(model + version) });
    },
    /** Keeps the model's work from ending until the returned function is called. */
    hold(version: string, model: string) {
      const { promise, resolve } = Promise.withResolvers<void>();
      slow.set(digestOf(version, model), promise);
      return () => resolve();
    },
    /** The folders of a model's versions. */
    folders: (model: string) => readdir(join(volume, 'models', model, 'versions')).catch(() => []),
    file: (version: string, model: string) => join(volume, 'models', model, 'versions', version, 'model.joblib'),
    link: (name: string, model: string) => readlink(join(volume, 'models', model, name)).catch(() => null),
  };
}

async function complete(files: VolumeProjection): Promise<void> {
  await expect.poll(() => files.progress().laid === files.progress().total, { timeout: 10_000 }).toBe(true);
}

async function volumeWith(...versions: [version: string, model: string][]) {
  const volume = await newVolume();
  for (const [version, model] of versions) {
    await volume.put(version, model);
    volume.publish(version, model);
  }
  return volume;
}

test('a command waits for the files of its own model only', async () => {
  const { log, start, hold, publish, put, link, file } = await volumeWith(['1.0.0', 'fraud'], ['1.0.0', 'churn']);
  const files = await start();
  await put('2.0.0', 'fraud');
  const release = hold('2.0.0', 'fraud');
  onTestFinished(release);
  publish('2.0.0', 'fraud');
  log.activate('1.0.0', 'churn');
  await files.settled('churn');
  expect(await link('active/production', 'churn')).toBe('../versions/1.0.0');
  let isSettled = false;
  const settled = files.settled('fraud').then(() => {
    isSettled = true;
  });
  await files.settled('churn');
  expect(isSettled).toBe(false);
  release();
  await settled;
  expect(await readFile(file('2.0.0', 'fraud'), 'utf8')).toBe('fraud2.0.0');
  expect(await link('latest', 'fraud')).toBe('versions/2.0.0');
});

test('problems are kept by model, and name paths relative to the volume', async () => {
  const { volume, start, file } = await volumeWith(['1.0.0', 'fraud'], ['1.0.0', 'churn']);
  await mkdir(join(file('1.0.0', 'fraud'), '..'), { recursive: true });
  await writeFile(file('1.0.0', 'fraud'), 'another');
  await mkdir(join(volume, 'models/churn'), { recursive: true });
  await symlink(join(volume, 'models/fraud'), join(volume, 'models/churn/versions'));
  const files = await start();
  const ofFraud = ['models/fraud/versions/1.0.0/model.joblib is not what was published'];
  const ofChurn = ['models/churn/versions must be a folder, not a link or a file; move it away'];
  expect(files.problems('fraud')).toEqual(ofFraud);
  expect(files.problems('churn')).toEqual(ofChurn);
  expect(files.problems('unknown')).toEqual([]);
  expect(files.problems().toSorted()).toEqual([...ofChurn, ...ofFraud]);
});

test('only the paths that failed are repeated', async () => {
  const { start, file, looked, digestOf } = await volumeWith(
    ['1.0.0', 'fraud'],
    ['2.0.0', 'fraud'],
    ['1.0.0', 'churn'],
  );
  await mkdir(join(file('2.0.0', 'fraud'), '..'), { recursive: true });
  await writeFile(file('2.0.0', 'fraud'), 'another');
  const files = await start();
  expect(new Set(looked.splice(0)).size).toBe(3);
  await expect.poll(() => looked.length).toBeGreaterThan(2);
  expect(new Set(looked)).toEqual(new Set([digestOf('2.0.0', 'fraud')]));
  await rm(file('2.0.0', 'fraud'));
  await expect.poll(() => files.problems()).toEqual([]);
  expect(await readFile(file('2.0.0', 'fraud'), 'utf8')).toBe('fraud2.0.0');
  looked.splice(0);
  await new Promise((resolve) => setTimeout(resolve, 3 * RETRY_MS));
  expect(looked).toEqual([]);
});

test('a model that is slow does not keep the failed paths of others from being repeated', async () => {
  const { start, file, hold, publish } = await volumeWith(['1.0.0', 'fraud']);
  await mkdir(join(file('1.0.0', 'fraud'), '..'), { recursive: true });
  await writeFile(file('1.0.0', 'fraud'), 'another');
  const files = await start();
  onTestFinished(hold('1.0.0', 'churn'));
  publish('1.0.0', 'churn');
  await rm(file('1.0.0', 'fraud'));
  await expect.poll(() => files.problems()).toEqual([]);
});

test('a version without its bytes is repeated until they are there, and is not a problem', async () => {
  const { start, publish, put, file } = await newVolume();
  publish('1.0.0', 'fraud');
  const files = await start();
  expect(files.incomplete.first(10)).toMatchObject([{ model: 'fraud', version: '1.0.0', missing: 1 }]);
  expect(files.problems()).toEqual([]);
  await put('1.0.0', 'fraud');
  // The bytes are found before the folder is laid.
  await expect.poll(() => readFile(file('1.0.0', 'fraud'), 'utf8').catch(() => null)).toBe('fraud1.0.0');
  expect(files.incomplete.first(10)).toEqual([]);
});

test('the position is saved once every event before it shows on the volume', async () => {
  const { volume, log, start, hold, publish, put } = await volumeWith(['1.0.0', 'fraud']);
  await start();
  await expect.poll(() => readPosition(volume), { timeout: 5_000 }).toEqual(log.readModel.position);
  await put('2.0.0', 'fraud');
  const release = hold('2.0.0', 'fraud');
  publish('2.0.0', 'fraud');
  await new Promise((resolve) => setTimeout(resolve, 1_200));
  expect(await readPosition(volume)).toMatchObject({ revision: 1 });
  release();
  await expect.poll(() => readPosition(volume), { timeout: 5_000 }).toEqual(log.readModel.position);
});

test('after a restore of the log, the files follow the restored log, and older work is dropped', async () => {
  const { volume, log, start, hold, publish, put, link } = await volumeWith(['1.0.0', 'fraud'], ['1.1.0', 'fraud']);
  log.activate('1.0.0', 'fraud');
  const files = await start();
  log.activate('1.1.0', 'fraud');
  await files.settled('fraud');
  await put('2.0.0', 'fraud');
  const release = hold('2.0.0', 'fraud');
  publish('2.0.0', 'fraud');
  log.activate('2.0.0', 'fraud');
  log.restore(3);
  release();
  await files.settled('fraud');
  expect(await link('active/production', 'fraud')).toBe('../versions/1.0.0');
  expect(await link('latest', 'fraud')).toBe('versions/1.1.0');
  expect(files.problems()).toEqual([]);
  await expect.poll(() => readPosition(volume), { timeout: 5_000 }).toMatchObject({ generation: 1, revision: 3 });
});

const VERSIONS = ['1.0.0', '2.0.0', '3.0.0', '4.0.0', '5.0.0'];

/** A volume on which nothing is laid, with five versions of each model; 2.0.0 is active. */
async function unlaid(...models: string[]) {
  const volume = await volumeWith(
    ...VERSIONS.flatMap((version) => models.map((model): [string, string] => [version, model])),
  );
  for (const model of models) volume.log.activate('2.0.0', model);
  return volume;
}

test('what is needed is laid first, in every model, then the other folders, newest first', async () => {
  const { start, looked, digestOf } = await unlaid('fraud', 'churn');
  const files = await start();
  const ofModel = (model: string) =>
    looked.map((digest) => VERSIONS.find((version) => digestOf(version, model) === digest)).filter(Boolean);
  expect(ofModel('fraud')).toEqual(['5.0.0', '2.0.0', '4.0.0', '3.0.0', '1.0.0']);
  expect(ofModel('churn')).toEqual(['5.0.0', '2.0.0', '4.0.0', '3.0.0', '1.0.0']);
  const needed = ['fraud', 'churn'].flatMap((model) => [digestOf('5.0.0', model), digestOf('2.0.0', model)]);
  expect(new Set(looked.slice(0, 4))).toEqual(new Set(needed));
  expect(files.progress()).toEqual({ laid: 10, total: 10 });
});

test('a folder that is there is not looked at again, unless it is needed; one that was removed is laid again', async () => {
  const { start, looked, digestOf, file, folders, begin } = await unlaid('fraud');
  await (await start()).close();
  await rm(join(file('3.0.0', 'fraud'), '..'), { recursive: true });
  looked.splice(0);
  await complete(begin());
  expect(looked.toSorted()).toEqual(
    ['2.0.0', '3.0.0', '5.0.0'].map((version) => digestOf(version, 'fraud')).toSorted(),
  );
  expect((await folders('fraud')).toSorted()).toEqual(VERSIONS);
});

test('an activation gets in between: its folder is laid before the link moves', async () => {
  const { log, begin, hold, link, file, folders } = await unlaid('fraud');
  const [release, releaseNext] = [hold('4.0.0', 'fraud'), hold('3.0.0', 'fraud')];
  const files = begin();
  onTestFinished(release);
  onTestFinished(releaseNext);
  await expect.poll(() => link('active/production', 'fraud')).toBe('../versions/2.0.0');
  expect(files.progress().laid).toBeLessThan(2);
  log.activate('1.0.0', 'fraud');
  release();
  await files.settled('fraud');
  expect(await link('active/production', 'fraud')).toBe('../versions/1.0.0');
  expect(await readFile(file('1.0.0', 'fraud'), 'utf8')).toBe('fraud1.0.0');
  expect(await folders('fraud')).not.toContain('3.0.0');
  releaseNext();
  await complete(files);
  expect((await folders('fraud')).toSorted()).toEqual(VERSIONS);
});

test('in a model that was not reconciled yet, a command does what is needed first', async () => {
  const { log, begin, link, file } = await unlaid('fraud');
  const files = begin();
  log.activate('1.0.0', 'fraud', 'staging'); // before any work has begun
  await files.settled('fraud');
  expect(await link('active/staging', 'fraud')).toBe('../versions/1.0.0');
  expect(await link('active/production', 'fraud')).toBe('../versions/2.0.0');
  expect(await link('latest', 'fraud')).toBe('versions/5.0.0');
  for (const version of ['1.0.0', '2.0.0', '5.0.0']) await stat(file(version, 'fraud'));
});

test('a link stays at the old version until the bytes of the new one are there', async () => {
  const { log, start, publish, put, link, file } = await volumeWith(['1.0.0', 'fraud']);
  const files = await start();
  log.activate('1.0.0', 'fraud');
  await files.settled('fraud');
  publish('2.0.0', 'fraud');
  log.activate('2.0.0', 'fraud');
  await files.settled('fraud');
  expect(await link('active/production', 'fraud')).toBe('../versions/1.0.0');
  expect(await link('latest', 'fraud')).toBe('versions/1.0.0');
  await put('2.0.0', 'fraud');
  await expect.poll(() => link('active/production', 'fraud')).toBe('../versions/2.0.0');
  await expect.poll(() => link('latest', 'fraud')).toBe('versions/2.0.0');
  expect(await readFile(file('2.0.0', 'fraud'), 'utf8')).toBe('fraud2.0.0');
});

test('a link never points to a folder that is missing, whatever is activated meanwhile', async () => {
  const { volume, log, begin, link, whenLooking } = await unlaid('fraud');
  const dangling: string[] = [];
  let target = 0;
  whenLooking(async () => {
    const active = await link('active/production', 'fraud');
    if (active && !(await stat(join(volume, 'models/fraud/active', active)).catch(() => null))) dangling.push(active);
    if (target < 20) log.activate(VERSIONS[target++ % VERSIONS.length]!, 'fraud');
  });
  const files = begin();
  await complete(files);
  await files.settled('fraud');
  expect(dangling).toEqual([]);
  expect(target).toBeGreaterThan(4);
  const { environments } = log.readModel.model('fraud');
  expect(await link('active/production', 'fraud')).toBe(`../versions/${environments.get('production')!.top!.version}`);
});

test('with active, only what links point to is laid, when they need it; what was laid stays', async () => {
  const { log, start, folders, link, put, publish, file } = await unlaid('fraud');
  const files = await start('active');
  expect(files.progress()).toEqual({ laid: 2, total: 2 });
  expect((await folders('fraud')).toSorted()).toEqual(['2.0.0', '5.0.0']);
  log.activate('1.0.0', 'fraud'); // as a rollback does
  await files.settled('fraud');
  expect(await link('active/production', 'fraud')).toBe('../versions/1.0.0');
  expect(await readFile(file('1.0.0', 'fraud'), 'utf8')).toBe('fraud1.0.0');
  for (const version of ['6.0.0', '3.1.0']) {
    await put(version, 'fraud');
    publish(version, 'fraud');
  }
  await files.settled('fraud');
  expect(await link('latest', 'fraud')).toBe('versions/6.0.0');
  expect((await folders('fraud')).toSorted()).toEqual(['1.0.0', '2.0.0', '5.0.0', '6.0.0']);
  expect(files.progress()).toEqual({ laid: 2, total: 2 });
});

test('what a crash left of a folder is not used', async () => {
  const { start, file, folders } = await volumeWith(['1.0.0', 'fraud']);
  const left = join(file('1.0.0', 'fraud'), '../../.1.0.0.new');
  await mkdir(left, { recursive: true });
  await writeFile(join(left, 'half'), 'half');
  await start();
  expect(await folders('fraud')).toEqual(['1.0.0']);
  expect(await readdir(join(file('1.0.0', 'fraud'), '..'))).toEqual(['model.joblib']);
});

test('a version without its bytes counts as looked at', async () => {
  const { start, publish } = await newVolume();
  for (const version of VERSIONS) publish(version, 'fraud');
  const files = await start();
  expect(files.progress()).toEqual({ laid: 5, total: 5 });
  expect(files.incomplete.first(10)).toHaveLength(5);
});

test('of many versions without their bytes, the active ones are listed first, and archived ones not at all', async () => {
  const { log, start, publish } = await newVolume();
  for (const version of VERSIONS) publish(version, 'fraud');
  log.activate('3.0.0', 'fraud');
  const files = await start();
  expect(files.incomplete.count).toBe(5);
  expect(files.incomplete.first(2)).toMatchObject([
    { version: '3.0.0', environments: ['production'] },
    { environments: [] },
  ]);
  log.archive('1.0.0', 'fraud');
  await files.settled('fraud');
  expect(files.incomplete.count).toBe(4);
  expect(files.incomplete.first(10).map(({ version }) => version)).not.toContain('1.0.0');
});
