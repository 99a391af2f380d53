import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { DiscardPolicy, type StreamConfig } from '@nats-io/jetstream';
import { Objm } from '@nats-io/obj';
import { nanos } from '@nats-io/transport-node';
import { describe, expect, it, onTestFinished } from 'vitest';
import { BLOBS, keyOf, OWNER_KEY } from '../../../src/artifacts/stores/bucket.ts';
import { BUCKET, CHUNKS, chunksOf, OBJECTS, openObjects } from '../../../src/artifacts/stores/nats/stream.ts';
import { isLeft } from '../../../src/artifacts/stores/nats/sweep.ts';
import type { NatsUpload } from '../../../src/artifacts/stores/nats/upload.ts';
import { createNatsBucket, type NatsBucketOptions } from '../../../src/artifacts/stores/nats.ts';
import { createObjectStore, type ObjectStore } from '../../../src/artifacts/stores/object-store.ts';
import { connectNats, type Nats } from '../../../src/log/connection.ts';
import { bytesOf, digestOfBytes, inChunks, someBytes } from '../../support/bytes.ts';
import { connected, SERVERS, startCluster, startNats, type TestServer } from '../../support/nats.ts';
import { storeContract } from './contract.ts';

const MIB = 1024 * 1024;
const { signal } = new AbortController();
const IMPATIENT = { answer: 500, part: 500, idle: 500 };
const UNAVAILABLE = { code: 'store-unavailable' };

async function bucketOn(nats: Nats, options: Partial<NatsBucketOptions> = {}) {
  return createNatsBucket(nats.nc, { name: 'nats:', ...options });
}

async function storeOn(nats: Nats, options: Partial<NatsBucketOptions> = {}): Promise<ObjectStore> {
  return createObjectStore(await bucketOn(nats, options), options.timeoutMs ? IMPATIENT : undefined);
}

/** Returns how many chunks each upload has. */
async function chunksIn({ jsm }: Nats): Promise<Record<string, number>> {
  const { state } = await jsm.streams.info(OBJECTS, { subjects_filter: `${CHUNKS}>` });
  return state.subjects ?? {};
}

async function send(upload: NatsUpload, bytes: Buffer): Promise<void> {
  await upload.send(1, bytes, Buffer.alloc(0));
}

async function listed<T>(entries: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const entry of entries) all.push(entry);
  return all;
}

async function digestsIn(store: ObjectStore): Promise<string[]> {
  return (await listed(store.list())).map(({ digest }) => digest).sort();
}

describe.each(SERVERS)('the object store of the $name nats-server', ({ name, binary }) => {
  let server: Promise<TestServer> | null = null;
  storeContract(name, async () => {
    server ??= startNats(binary());
    onTestFinished(() => {
      server = null;
    });
    return storeOn(await connected(await server));
  });

  it('refuses a blob that is too large before its bytes are read', async () => {
    const store = await storeOn(await connected(await startNats(binary())));
    let read = 0;
    async function* counted() {
      yield Buffer.alloc(++read);
    }
    const put = store.put(digestOfBytes(Buffer.alloc(0)), counted(), 1024 * MIB + 1);
    await expect(put).rejects.toMatchObject({ code: 'too-large' });
    expect(read).toBe(0);
  });

  it('stores nothing of a blob that is too large, if its size was not announced', async () => {
    const nats = await connected(await startNats(binary()));
    const store = await storeOn(nats, { maxObjectBytes: 10 * MIB });
    const bytes = someBytes(17 * MIB);
    await expect(store.put(digestOfBytes(bytes), inChunks(bytes))).rejects.toMatchObject({ code: 'too-large' });
    expect(await chunksIn(nats)).toEqual({});
    const most = bytes.subarray(0, 10 * MIB);
    expect(await store.put(digestOfBytes(most), inChunks(most))).toMatchObject({ size: 10 * MIB });
  });

  it('says that it is full, and stores nothing of what does not fit', async () => {
    const nats = await connected(await startNats(binary()));
    const store = await storeOn(nats, { maxBytes: 12 * MIB });
    const bytes = someBytes(20 * MIB);
    for (const size of [bytes.length, undefined]) {
      const put = store.put(digestOfBytes(bytes), inChunks(bytes), size);
      await expect(put).rejects.toMatchObject({
        code: 'volume-full',
        message: expect.stringContaining('nats: is full'),
      });
    }
    expect(await chunksIn(nats)).toEqual({});
    const small = bytes.subarray(0, 10 * MIB);
    await store.put(digestOfBytes(small), inChunks(small), small.length);
    expect((await bytesOf(await store.get(digestOfBytes(small)))).equals(small)).toBe(true);
  });

  it('says that it is full when the server’s own limit is reached', async () => {
    const settings =
      'accounts { A { jetstream { max_file: 12MB }, users: [{ user: a, password: a }] } }\nno_auth_user: a';
    const nats = await connected(await startNats(binary(), settings));
    const store = await storeOn(nats);
    const bytes = someBytes(20 * MIB);
    const put = store.put(digestOfBytes(bytes), inChunks(bytes), bytes.length);
    await expect(put).rejects.toMatchObject({ code: 'volume-full' });
    expect(await chunksIn(nats)).toEqual({});
  });

  it('sweeps the chunks of a client that was killed, and nothing else', async () => {
    const running = await startNats(binary());
    const nats = await connected(running);
    const store = await storeOn(nats);
    const bytes = someBytes(9 * MIB);
    await store.put(digestOfBytes(bytes), inChunks(bytes), bytes.length);
    const before = await chunksIn(nats);
    const orphanIn = async () => Object.entries(await chunksIn(nats)).find(([subject]) => !(subject in before));
    await killedUpload(running.url, async () => (await orphanIn())?.[1] === 16);
    const [orphan] = (await orphanIn())!;

    await sleep(20);
    const now = Date.now();
    await sleep(20);
    const inProgress = await (await bucketOn(nats)).begin('sha256/in-progress', signal);
    const part = someBytes(MIB);
    await send(inProgress, part);
    await nats.js.publish(chunksOf('foreign'), 'a chunk of another client');

    expect(await store.sweepUploads!(now - 3600_000)).toBe(0);
    expect(await chunksIn(nats)).toHaveProperty([orphan]);
    const stream = await openObjects(nats.nc, -1, { name: 'nats:', timeoutMs: 5_000, maxObjectBytes: MIB });
    const left = (subject: string) => isLeft(stream, subject.slice(CHUNKS.length), now);
    expect(await Promise.all([...Object.keys(before), orphan].map(left))).toEqual([false, true]);
    expect(await store.sweepUploads!(now)).toBe(1);
    expect(await chunksIn(nats)).not.toHaveProperty([orphan]);
    await send(inProgress, part);
    await inProgress.complete();
    expect(await store.sweepUploads!(Date.now() + 3600_000)).toBe(0);
    expect(await chunksIn(nats)).toHaveProperty([chunksOf('foreign')]);
    const read = await (await bucketOn(nats)).read('sha256/in-progress', null, signal);
    expect((await bytesOf(read!.bytes)).equals(Buffer.concat([part, part]))).toBe(true);
    expect((await bytesOf(await store.get(digestOfBytes(bytes)))).equals(bytes)).toBe(true);
  });

  it('keeps one copy of an object that is put again', async () => {
    const nats = await connected(await startNats(binary()));
    const store = await storeOn(nats);
    const bytes = someBytes(9 * MIB);
    const digest = digestOfBytes(bytes);
    await Promise.all([1, 2, 3].map(() => store.put(digest, inChunks(bytes))));
    await store.put(digest, inChunks(bytes));
    expect(Object.values(await chunksIn(nats))).toEqual([18]);
    for (let i = 0; i < 3; i++) await store.put(digest, inChunks(bytes), bytes.length);
    const { state } = await nats.jsm.streams.info(OBJECTS);
    expect(state.messages).toBe(18 + 1);
    await store.delete(digest);
    expect((await nats.jsm.streams.info(OBJECTS)).state.messages).toBe(0);
  });

  it('records its owner, which is no blob', async () => {
    const nats = await connected(await startNats(binary()));
    const store = await storeOn(nats);
    expect(await store.owner()).toBeNull();
    await store.own('first');
    expect(await (await storeOn(nats)).owner()).toBe('first');
    await store.own('second');
    expect(await store.owner()).toBe('second');
    expect(Object.values(await chunksIn(nats))).toEqual([1]);
    const bucket = await bucketOn(nats);
    expect(await listed(bucket.list(BLOBS, signal))).toEqual([]);
    expect(await listed(bucket.list('', signal))).toMatchObject([{ key: OWNER_KEY, size: 7 }]);
  });

  it('is read and changed by other clients of the object store', async () => {
    const nats = await connected(await startNats(binary()));
    const store = await storeOn(nats);
    const objects = await new Objm(nats.js).open(BUCKET);
    const [first, second] = [someBytes(3 * MIB + 1, 1), someBytes(100, 2)];
    await store.put(digestOfBytes(first), inChunks(first), first.length);
    const key = keyOf(digestOfBytes(first));
    // This compares the digest, too.
    expect(Buffer.from((await objects.getBlob(key))!).equals(first)).toBe(true);
    expect((await objects.list()).map((info) => info.name)).toEqual([key]);

    await objects.putBlob({ name: keyOf(digestOfBytes(second)) }, second);
    expect(await digestsIn(store)).toEqual([digestOfBytes(first), digestOfBytes(second)].sort());
    await objects.delete(key);
    expect(await store.stat(digestOfBytes(first))).toBeNull();
    expect(await digestsIn(store)).toEqual([digestOfBytes(second)]);
    await store.put(digestOfBytes(first), inChunks(first), first.length);
    expect((await bytesOf(await store.get(digestOfBytes(first)))).equals(first)).toBe(true);
  });

  it('reads a range behind chunks of other uploads', async () => {
    const nats = await connected(await startNats(binary()));
    const bucket = await bucketOn(nats);
    const contents = [1, 2, 3].map((seed) => someBytes(8 * MIB + 5, seed));
    const uploads = await Promise.all(contents.map((_, i) => bucket.begin(`object ${i}`, signal)));
    for (let part = 0; part < 9; part++) {
      const piece = (bytes: Buffer) => bytes.subarray(part * MIB, (part + 1) * MIB);
      for (const [i, upload] of uploads.entries()) await send(upload, piece(contents[i]!));
    }
    for (const upload of uploads) await upload.complete();
    for (const [i, bytes] of contents.entries()) {
      for (const start of [0, 5 * MIB - 1, 8 * MIB, 8 * MIB + 4]) {
        const opened = await bucket.read(`object ${i}`, { start, end: 1e12 }, signal);
        expect(opened!.length).toBe(bytes.length - start);
        expect((await bytesOf(opened!.bytes)).equals(bytes.subarray(start)), `from ${start}`).toBe(true);
      }
    }
  });

  it('lists more than a page', async () => {
    const store = await storeOn(await connected(await startNats(binary())));
    const blobs = Array.from({ length: 520 }, (_, i) => Buffer.from(`blob ${i}`));
    for (let i = 0; i < blobs.length; i += 20) {
      const some = blobs.slice(i, i + 20);
      await Promise.all(some.map((bytes) => store.put(digestOfBytes(bytes), inChunks(bytes), bytes.length)));
    }
    expect(await digestsIn(store)).toEqual(blobs.map(digestOfBytes).sort());
  });
});

describe('the object store of NATS', () => {
  const current = SERVERS[0]!.binary;

  it('keeps the chunks of an object that became visible without an acknowledgement', async () => {
    const running = await startNats(current());
    const deaf = await connected({ url: await withoutAnswersAfter(running.url, '.M.') });
    const upload = await (await bucketOn(deaf, { timeoutMs: 500 })).begin('object', signal);
    const bytes = someBytes(MIB);
    await send(upload, bytes);
    await expect(upload.complete()).rejects.toThrow();
    await upload.abort();
    const found = await (await bucketOn(await connected(running))).read('object', null, signal);
    expect((await bytesOf(found!.bytes)).equals(bytes)).toBe(true);
  });

  it.each(['SIGKILL', 'SIGSTOP'] as const)('fails in bounded time if the server gets %s', async (kill) => {
    const running = await startNats(current());
    const store = await storeOn(await connected(running), { timeoutMs: 500 });
    const [bytes, others] = [someBytes(20 * MIB, 1), someBytes(20 * MIB, 2)];
    const digest = digestOfBytes(bytes);
    await store.put(digest, inChunks(bytes), bytes.length);
    const reader = (await store.get(digest))[Symbol.asyncIterator]();
    await reader.next();

    async function* stopping() {
      yield* inChunks(others.subarray(0, 12 * MIB));
      running.process().kill(kill);
      yield* inChunks(others.subarray(12 * MIB));
    }
    await expect(store.put(digestOfBytes(others), stopping())).rejects.toMatchObject(UNAVAILABLE);
    const rest = async () => {
      while (!(await reader.next()).done);
    };
    await Promise.all([
      expect(rest()).rejects.toThrow(),
      expect(store.get(digest)).rejects.toMatchObject(UNAVAILABLE),
      expect(store.stat(digest)).rejects.toMatchObject(UNAVAILABLE),
      expect(store.delete(digest)).rejects.toMatchObject(UNAVAILABLE),
      expect(digestsIn(store)).rejects.toMatchObject(UNAVAILABLE),
      expect(store.sweepUploads!(Date.now())).rejects.toMatchObject(UNAVAILABLE),
    ]);
  });

  it('sends a slow reader little more than it reads', async () => {
    const running = await startNats(current());
    const bytes = someBytes(20 * MIB);
    await (await storeOn(await connected(running))).put(digestOfBytes(bytes), inChunks(bytes), bytes.length);
    const nats = await connected(running);
    const stream = await (await storeOn(nats)).get(digestOfBytes(bytes));
    await stream[Symbol.asyncIterator]().next();
    await sleep(300);
    expect(nats.nc.stats().inBytes).toBeLessThan(4 * MIB);
    stream.destroy();
  });

  it('stores on three servers of a cluster', async () => {
    const nodes = await startCluster(current());
    const nats = await connected(...nodes);
    const store = await storeOn(nats);
    const bytes = someBytes(9 * MIB);
    await store.put(digestOfBytes(bytes), inChunks(bytes), bytes.length);
    expect((await nats.jsm.streams.info(OBJECTS)).config.num_replicas).toBe(3);
    expect((await bytesOf(await store.get(digestOfBytes(bytes)))).equals(bytes)).toBe(true);
  });

  it.each<Partial<StreamConfig>>([{ max_age: nanos(3600_000) }, { discard: DiscardPolicy.Old }, { sealed: true }])(
    'does not use an object store that loses or refuses objects: %o',
    async (config) => {
      const nats = await connected(await startNats(current()));
      await bucketOn(nats);
      await nats.jsm.streams.update(OBJECTS, config);
      await expect(bucketOn(nats)).rejects.toThrow(`${Object.keys(config)[0]} must be`);
    },
  );

  it('closes only a connection that it opened', async () => {
    const running = await startNats(current());
    const nats = await connected(running);
    await (await bucketOn(nats)).close!();
    expect(nats.nc.isClosed()).toBe(false);
    const other = await connectNats({ servers: [running.url] }, 'test');
    const bucket = await createNatsBucket(async () => other.nc, { name: 'nats:' });
    expect(other.nc.isClosed()).toBe(false);
    await bucket.close!();
    expect(other.nc.isClosed()).toBe(true);
  });
});

/** Starts an upload in another process, and kills that after some of its chunks arrived. */
async function killedUpload(url: string, arrived: () => Promise<boolean>): Promise<void> {
  const script = join(import.meta.dirname, 'nats-upload.ts');
  const child = spawn(process.execPath, [script, url], { stdio: ['ignore', 'ignore', 'inherit'] });
  const ended = once(child, 'exit');
  onTestFinished(() => void child.kill('SIGKILL'));
  while (!(await arrived())) await sleep(20);
  child.kill('SIGKILL');
  await ended;
}

/** Starts a proxy that drops what the server sends, after a client published to a subject with this text. */
async function withoutAnswersAfter(target: string, text: string): Promise<string> {
  const { hostname, port } = new URL(target);
  const published = new RegExp(`HPUB \\S*${text.replaceAll('.', '\\.')}`);
  const proxy = createServer((client) => {
    const upstream = connect(Number(port), hostname);
    let dropping = false;
    client.on('data', (data) => {
      dropping ||= published.test(data.toString('latin1'));
      upstream.write(data);
    });
    upstream.on('data', (data) => void (dropping || client.write(data)));
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      one.on('error', () => {}); // handled by 'close'
      one.on('close', () => other.destroy());
    }
  }).listen(0, '127.0.0.1');
  onTestFinished(() => void proxy.close());
  await once(proxy, 'listening');
  return `nats://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
}
