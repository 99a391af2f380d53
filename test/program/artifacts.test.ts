import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { DeleteObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { beforeAll, expect, it, onTestFinished } from 'vitest';
import { parseStoreAddress } from '../../src/artifacts/address.ts';
import { openFolderStore } from '../../src/artifacts/stores/folder.ts';
import { createObjectStore, type ObjectStore } from '../../src/artifacts/stores/object-store.ts';
import { createS3Bucket } from '../../src/artifacts/stores/s3.ts';
import type { Digest } from '../../src/domain/digest.ts';
import { bytesOf, digestOfBytes, inChunks, someBytes } from '../support/bytes.ts';
import { temporaryFolder } from '../support/folder.ts';
import { cliWith, ELSEWHERE, MAIN, type Program, startProgram } from '../support/program.ts';
import { INSTALL_TIMEOUT_MS, type SeaweedFs, startSeaweedFs } from '../support/seaweedfs.ts';
import { type Files, laid, ok, publish, send, until, versionForm, volumeFolder } from './support.ts';

const MIB = 1024 * 1024;
let storage: SeaweedFs;
let prefixes = 0;

beforeAll(async () => {
  storage = await startSeaweedFs();
  Object.assign(process.env, storage.env);
  return storage.stop;
}, INSTALL_TIMEOUT_MS);

/** An empty store in S3: its address, the store itself, and ways past it. */
function newStore() {
  const prefix = `artifacts-${++prefixes}`;
  const address = `s3://${storage.bucket}/${prefix}?endpoint=${storage.endpoint}`;
  const parsed = parseStoreAddress(address);
  if (parsed.kind !== 's3') throw new Error('not an address of S3');
  const store = createObjectStore(createS3Bucket(parsed));
  const client = new S3Client({ endpoint: storage.endpoint, region: 'us-east-1', forcePathStyle: true });
  onTestFinished(async () => {
    client.destroy();
    await store.close();
  });
  const at = (digest: string) => ({ Bucket: storage.bucket, Key: `${prefix}/${digest.replace(':', '/')}` });
  return {
    address,
    store,
    damage: async (digest: Digest) => {
      const bytes = await bytesOf(await store.get(digest));
      bytes[0]! ^= 1;
      await client.send(new PutObjectCommand({ ...at(digest), Body: bytes }));
    },
    remove: (digest: Digest) => client.send(new DeleteObjectCommand(at(digest))),
  };
}

async function count(store: ObjectStore): Promise<number> {
  let blobs = 0;
  for await (const _ of store.list()) blobs++;
  return blobs;
}

async function copied(volume: string, from: string, to: string) {
  const run = await cliWith({ REGISTRY_VOLUME: volume }, 'artifacts', 'copy', '--from', from, '--to', to, '--json');
  expect(run, run.stderr).toMatchObject({ code: 0 });
  return JSON.parse(run.stdout) as { copied: number; there: number; failed: []; damaged: [] };
}

async function copiedAll(volume: string, from: string, to: string): Promise<void> {
  while ((await copied(volume, from, to)).copied > 0);
}

async function scrubbed(volume: string, REGISTRY_ARTIFACTS: string) {
  const run = await cliWith({ REGISTRY_VOLUME: volume, REGISTRY_ARTIFACTS }, 'scrub', '--json');
  return { code: run.code, stderr: run.stderr, ...JSON.parse(run.stdout) };
}

/** Runs a command, and kills it with SIGKILL once `when` holds; returns whether it was still running. */
async function killedWhen(
  when: () => Promise<boolean>,
  env: Record<string, string>,
  ...args: string[]
): Promise<boolean> {
  const options = { env: { ...process.env, ...env }, cwd: ELSEWHERE, stdio: 'ignore' as const };
  const child: ChildProcess = spawn(process.execPath, [MAIN, ...args], options);
  const exited = once(child, 'exit');
  while (child.exitCode === null && !(await when())) await sleep(5);
  child.kill('SIGKILL');
  await exited;
  return child.signalCode === 'SIGKILL';
}

/** A client that publishes and reads all the time, whatever happens to the registry. */
function busyClient(program: () => Program | null) {
  const published: Files[] = [];
  const wrong: string[] = [];
  let stopped = false;
  let reads = 0;
  const running = Promise.all([publishing(), reading()]);
  return {
    published,
    wrong,
    reads: () => reads,
    async end() {
      stopped = true;
      await running;
    },
  };

  async function publishing(): Promise<void> {
    while (!stopped) {
      const number = published.length + 1;
      const files = {
        'model.bin': new Uint8Array(someBytes(number % 4 === 0 ? 2 * MIB : 40_000, number)),
        'n.txt': `${number}`,
      };
      const registry = program();
      const answer =
        registry &&
        (await whileUp(() =>
          send(registry, 'POST', '/api/models/default/versions', versionForm({ version: `1.0.${number}` }, files)),
        ));
      if (answer?.ok) published.push(files);
      else if (answer) wrong.push(`published 1.0.${number}: ${answer.status} ${await answer.text()}`);
      await sleep(20);
    }
  }

  async function reading(): Promise<void> {
    while (!stopped) {
      const registry = program();
      const index = Math.floor(Math.random() * published.length);
      const answer = registry && published.length > 0 && (await whileUp(() => fileOf(registry, index + 1)));
      if (answer) {
        const bytes = await answer.arrayBuffer().catch(() => null);
        const isRight = answer.ok && bytes && Buffer.from(bytes).equals(published[index]!['model.bin'] as Uint8Array);
        if (!isRight && bytes) wrong.push(`read 1.0.${index + 1}: ${answer.status}`);
        reads++;
      }
      await sleep(10);
    }
  }
}

/** Returns null if the registry is being restarted. */
const whileUp = (ask: () => Promise<Response>) => ask().catch(() => null);

function fileOf({ ask }: Program, patch: number): Promise<Response> {
  return ask('GET', `/api/models/default/versions/1.0.${patch}/files/model.bin`);
}

it('a registry moves from its volume to S3 and back, while clients publish and read', {
  timeout: 180_000,
}, async () => {
  const { address, store } = newStore();
  const volume = await volumeFolder();
  const start = (env: Record<string, string>) => startProgram(volume, { REGISTRY_DISCOVERY: 'off', ...env });
  let program: Program | null = await start({});
  const client = busyClient(() => program);
  onTestFinished(() => client.end());
  const progressed = async () => {
    const [reads, versions] = [client.reads(), client.published.length];
    await until(() => client.reads() > reads + 5 && client.published.length > versions + 3);
  };
  const restartOn = async (env: Record<string, string>, meanwhile = async () => {}) => {
    const old = program!;
    program = null;
    await old.stop();
    await meanwhile();
    program = await start(env);
  };
  await progressed();

  expect((await copied(volume, 'file:', address)).copied).toBeGreaterThan(0);
  await restartOn({ REGISTRY_ARTIFACTS: address });
  await copiedAll(volume, 'file:', address);
  await progressed();
  expect(await scrubbed(volume, address)).toMatchObject({ code: 0, log_read: true, lost: 0, missing: 0, failed: [] });
  // What is read from now on comes from S3.
  await restartOn({ REGISTRY_ARTIFACTS: address }, () => rm(join(volume, 'blobs/sha256'), { recursive: true }));
  await progressed();

  await copied(volume, address, 'file:');
  await restartOn({});
  await copiedAll(volume, address, 'file:');
  await progressed();
  expect(await scrubbed(volume, 'file:')).toMatchObject({ code: 0, lost: 0, missing: 0, failed: [] });
  await client.end();

  expect(client.wrong).toEqual([]);
  expect(await count(store)).toBeGreaterThan(10);
  for (const [i, files] of client.published.entries()) {
    const bytes = Buffer.from(await (await fileOf(program, i + 1)).arrayBuffer());
    expect(bytes.equals(files['model.bin'] as Uint8Array), `1.0.${i + 1}`).toBe(true);
  }
  await laid(program);
  expect(await ok(program, 'GET', '/readyz')).toMatchObject({ volume: [], artifacts: [], store: [] });
  expect(await cliWith({ REGISTRY_VOLUME: volume }, 'replay', '--verify')).toMatchObject({ code: 0 });
});

it('a copy that is killed again and again is finished by a repetition', { timeout: 120_000 }, async () => {
  const { address, store } = newStore();
  const volume = await temporaryFolder();
  const source = await openFolderStore(volume);
  const blobs = Array.from({ length: 150 }, (_, i) => someBytes(i % 30 === 0 ? 9 * MIB : 20_000 + i, i + 1));
  for (const bytes of blobs) await source.put(digestOfBytes(bytes), inChunks(bytes), bytes.length);
  const args = ['artifacts', 'copy', '--from', 'file:', '--to', address];
  for (const least of [5, 40]) {
    const isSome = async () => (await count(store)) >= least;
    expect(await killedWhen(isSome, { REGISTRY_VOLUME: volume }, ...args)).toBe(true);
  }
  const before = await count(store);
  expect(before).toBeLessThan(blobs.length);
  expect(await copied(volume, 'file:', address)).toMatchObject({ copied: blobs.length - before, there: before });
  for (const bytes of blobs) expect((await bytesOf(await store.get(digestOfBytes(bytes)))).equals(bytes)).toBe(true);
});

/** Flips bytes in place: hard links have them, too. */
async function damage(path: string): Promise<void> {
  const bytes = await readFile(path);
  bytes[0]! ^= 1;
  await chmod(path, 0o644);
  await writeFile(path, bytes);
}

it('scrub repairs S3 from the volume and the volume from S3, beside a registry and without one', async () => {
  const { address, store, damage: damageStored, remove } = newStore();
  const volume = await volumeFolder();
  const program = await startProgram(volume, { REGISTRY_DISCOVERY: 'off', REGISTRY_ARTIFACTS: address });
  const names = ['stored', 'removed', 'copy', 'both', 'untouched'];
  for (const [i, name] of names.entries()) await publish(program, `${i + 1}.0.0`, { 'model.bin': name });
  await ok(program, 'POST', '/api/models/default/versions/3.0.0/activate', {});
  const digestOf = (name: string) => digestOfBytes(Buffer.from(name));
  const copyOf = (name: string) => join(volume, 'blobs', digestOf(name).replace(':', '/'));

  await damageStored(digestOf('stored'));
  await remove(digestOf('removed'));
  await damage(copyOf('copy'));
  await damageStored(digestOf('both'));
  await rm(copyOf('both'));
  await rm(join(volume, 'versions/4.0.0'), { recursive: true });
  const found = await scrubbed(volume, address);
  expect(found).toMatchObject({ code: 7, intact: 1, restored: 3, lost: 1, missing: 0, failed: [] });
  expect(found.blobs).toContainEqual({
    digest: digestOf('both'),
    result: 'lost',
    needed_by: [{ model: 'default', version: '4.0.0', path: 'model.bin' }],
  });
  expect(await store.stat(digestOf('both'))).not.toBeNull();
  for (const name of ['stored', 'removed', 'copy']) {
    expect((await bytesOf(await store.get(digestOf(name)))).toString()).toBe(name);
    expect(await readFile(copyOf(name), 'utf8')).toBe(name);
  }
  expect(await readFile(join(volume, 'active/production/model.bin'), 'utf8')).toBe('copy');
  expect(await readFile(join(volume, 'versions/3.0.0/model.bin'), 'utf8')).toBe('copy');

  await program.stop();
  await writeFile(copyOf('both'), 'both');
  const plain = await cliWith({ REGISTRY_VOLUME: volume, REGISTRY_ARTIFACTS: address }, 'scrub');
  expect(plain, plain.stderr).toMatchObject({ code: 0 });
  expect(plain.stdout).toMatch(new RegExp(`^${digestOf('both')}  restored  default 4.0.0: model.bin$`, 'm'));
  expect((await bytesOf(await store.get(digestOf('both')))).toString()).toBe('both');
});

it('a scrub that is killed in the middle of its repairs is finished by a repetition', {
  timeout: 120_000,
}, async () => {
  const { address, store, damage: damageStored } = newStore();
  const volume = await volumeFolder();
  const program = await startProgram(volume, { REGISTRY_DISCOVERY: 'off', REGISTRY_ARTIFACTS: address });
  const files: Files = Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`${i}.txt`, `the bytes of ${i}`]));
  await publish(program, '1.0.0', files);
  const digests = Object.values(files).map((content) => digestOfBytes(Buffer.from(content)));
  await Promise.all(digests.map(damageStored));
  const isIntact = async (digest: Digest) => {
    const bytes = await store.get(digest).then(bytesOf, () => null);
    return bytes !== null && digestOfBytes(bytes) === digest;
  };
  // In the order of the listing, which is that of the repairs.
  const [, , third, , , , seventh] = digests.toSorted();
  for (const digest of [third!, seventh!]) {
    const env = { REGISTRY_VOLUME: volume, REGISTRY_ARTIFACTS: address };
    expect(await killedWhen(() => isIntact(digest), env, 'scrub')).toBe(true);
  }
  expect((await Promise.all(digests.map(isIntact))).filter(Boolean).length).toBeLessThan(digests.length);
  const last = await scrubbed(volume, address);
  expect(last).toMatchObject({ code: 0, lost: 0, missing: 0, failed: [] });
  expect(last.intact + last.restored).toBe(digests.length);
  for (const digest of digests) expect(await isIntact(digest)).toBe(true);
});

it('a copy ends on Ctrl-C, and refuses a store of another log', async () => {
  const { address, store } = newStore();
  const volume = await volumeFolder();
  const source = await openFolderStore(volume);
  for (let i = 0; i < 100; i++) {
    const bytes = someBytes(20_000, i + 1);
    await source.put(digestOfBytes(bytes), inChunks(bytes), bytes.length);
  }
  const env = { ...process.env, REGISTRY_VOLUME: volume };
  const args = [MAIN, 'artifacts', 'copy', '--from', 'file:', '--to', address];
  const child = spawn(process.execPath, args, { env, cwd: ELSEWHERE, stdio: ['ignore', 'ignore', 'pipe'] });
  let printed = '';
  child.stderr.on('data', (data: Buffer) => {
    printed += data;
  });
  const exited = once(child, 'close');
  while ((await count(store)) === 0) await sleep(5);
  child.kill('SIGINT');
  expect(await exited).toEqual([1, null]);
  expect(printed).toBe('signalbox: Stopped. Run the same command again to continue.\n');
  await store.own('a'.repeat(64));
  await source.own('b'.repeat(64));
  const refused = await cliWith({ REGISTRY_VOLUME: volume }, ...args.slice(1));
  expect(refused.code).toBe(5);
  expect(refused.stderr).toContain('belongs to another log');
});
