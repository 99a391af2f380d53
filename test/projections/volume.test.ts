import { mkdir, readFile, readlink, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pino } from 'pino';
import { expect, onTestFinished, test } from 'vitest';
import { openVolumeStore } from '../../src/artifacts/stores/volume.ts';
import { type Digest, sha256Hex } from '../../src/domain/digest.ts';
import { readPosition } from '../../src/projections/volume/position-file.ts';
import { startVolume, type VolumeOptions } from '../../src/projections/volume/volume.ts';
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
  const observed: VolumeOptions['store'] = {
    ...store,
    async stat(digest) {
      looked.push(digest);
      await slow.get(digest);
      return store.stat(digest);
    },
  };
  const digestOf = (version: string, model: string): Digest => `sha256:${sha256Hex(Buffer.from(model + version))}`;
  return {
    volume,
    log,
    looked,
    async start() {
      const options = { volume, store: observed, projector: log.projector, log: pino({ level: 'silent' }) };
      const files = await startVolume({ ...options, retryMs: RETRY_MS });
      onTestFinished(() => files.close());
      return files;
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
    file: (version: string, model: string) => join(volume, 'models', model, 'versions', version, 'model.joblib'),
    link: (name: string, model: string) => readlink(join(volume, 'models', model, name)).catch(() => null),
  };
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
  await mkdir(join(file('1.0.0', 'fraud'), '..'), { recursive: true });
  await writeFile(file('1.0.0', 'fraud'), 'another');
  const files = await start();
  expect(new Set(looked.splice(0)).size).toBe(3);
  await expect.poll(() => looked.length).toBeGreaterThan(2);
  expect(new Set(looked)).toEqual(new Set([digestOf('1.0.0', 'fraud')]));
  await rm(file('1.0.0', 'fraud'));
  await expect.poll(() => files.problems()).toEqual([]);
  expect(await readFile(file('1.0.0', 'fraud'), 'utf8')).toBe('fraud1.0.0');
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
  expect(files.incomplete()).toMatchObject([{ model: 'fraud', version: '1.0.0', missing: 1 }]);
  expect(files.problems()).toEqual([]);
  await put('1.0.0', 'fraud');
  await expect.poll(() => files.incomplete()).toEqual([]);
  expect(await readFile(file('1.0.0', 'fraud'), 'utf8')).toBe('fraud1.0.0');
});

test('the position is saved once every event before it shows on the volume', async () => {
  const { volume, log, start, hold, publish, put } = await volumeWith(['1.0.0', 'fraud']);
  await start();
  expect(await readPosition(volume)).toEqual(log.readModel.position);
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
