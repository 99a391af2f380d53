import { beforeAll, describe, expect, it, vi } from 'vitest';
import { parseStoreAddress } from '../../../src/artifacts/address.ts';
import { createObjectStore, type ObjectStore } from '../../../src/artifacts/stores/object-store.ts';
import { createS3Bucket } from '../../../src/artifacts/stores/s3.ts';
import { bytesOf, digestOfBytes, inChunks, someBytes } from '../../support/bytes.ts';
import {
  alter,
  answer,
  cutAfter,
  cutUpload,
  type Fault,
  loseAnswer,
  stall,
  stallAfter,
  startFaultyStore,
} from '../../support/faulty-store.ts';
import type { Ends } from '../../support/folder.ts';
import { INSTALL_TIMEOUT_MS, type SeaweedFs, startSeaweedFs } from '../../support/seaweedfs.ts';

const MIB = 1024 * 1024;
const ALWAYS = Number.POSITIVE_INFINITY;
/** For tests that a store survives: long enough for a busy machine. */
const STEADY = {
  timeouts: { answer: 1_500, idle: 3_000 },
  patience: { answer: 15_000, part: 25_000, idle: 4_000 },
};
/** For tests that end in an error anyway. */
const HASTY = {
  timeouts: { answer: 700, idle: 900 },
  patience: { answer: 5_000, part: 8_000, idle: 1_500 },
};

/** The requests of an upload. */
const HEAD = /^HEAD .*sha256/;
const PUT = /^PUT .*PutObject/;
const BEGIN = /^POST .*\?uploads/;
const PART = /^PUT .*partNumber=2/;
const COMPLETE = /^POST .*uploadId=/;
const GET = /^GET .*GetObject/;

const small = someBytes(100_000, 7);
const large = someBytes(9 * MIB, 8);
let storage: SeaweedFs;
let prefixes = 0;

beforeAll(async () => {
  storage = await startSeaweedFs();
  Object.assign(process.env, storage.env);
  return storage.stop;
}, INSTALL_TIMEOUT_MS);

/** Opens a store through a proxy, and the same one without faults (`sound`). */
async function faultyStore(ends: Ends, { timeouts, patience } = STEADY) {
  const proxy = await startFaultyStore(storage.endpoint, ends);
  const place = `s3://${storage.bucket}/faults-${++prefixes}`;
  const addressAt = (endpoint: string) => {
    const address = parseStoreAddress(`${place}?endpoint=${endpoint}`);
    if (address.kind !== 's3') throw new Error('not an address of S3');
    return address;
  };
  const store = createObjectStore(createS3Bucket(addressAt(proxy.endpoint), timeouts), patience);
  const sound = createObjectStore(createS3Bucket(addressAt(storage.endpoint)));
  ends(async () => {
    await store.close();
    await sound.close();
  });
  return { proxy, store, sound };
}

const put = (store: ObjectStore, bytes: Buffer) => store.put(digestOfBytes(bytes), inChunks(bytes), bytes.length);
const read = async (store: ObjectStore, bytes: Buffer) => bytesOf(await store.get(digestOfBytes(bytes)));

/** As if the storage had read no `Range`. */
const ignoreRange: Fault = (_, response, forward) =>
  forward((whole) => {
    delete whole.headers['content-range'];
    whole.pipe(response.writeHead(200, whole.headers));
  });

describe.concurrent('an upload', () => {
  it.for<[string, Buffer, RegExp, Fault, number]>([
    ['two answers 500', small, PUT, answer(500, 'InternalError'), 2],
    ['two answers 503 to a part', large, PART, answer(503, 'SlowDown'), 2],
    ['a stall before the first answer', small, HEAD, stall, 1],
    ['a stall before the answer to an object', small, PUT, stall, 1],
    ['a stall before the answer to a part', large, PART, stall, 1],
    ['a stall before the answer to the beginning', large, BEGIN, stall, 1],
    ['a connection cut in an object', small, PUT, cutUpload, 1],
    ['a connection cut in a part', large, PART, cutUpload, 2],
    ['credentials that expire at an object', small, PUT, answer(400, 'ExpiredToken'), 1],
    ['credentials that expire at a part', large, PART, answer(400, 'ExpiredToken'), 1],
    ['credentials that expire at HEAD', small, HEAD, answer(400, 'ExpiredToken'), 1],
    ['an error with status 200 at the completion', large, COMPLETE, answer(200, 'InternalError'), 1],
    ['a lost answer to an object', small, PUT, loseAnswer, 1],
    ['a lost answer to a part', large, PART, loseAnswer, 1],
    ['a lost answer to the completion', large, COMPLETE, loseAnswer, 1],
  ])('survives %s', async ([_, bytes, requests, fault, times], { onTestFinished }) => {
    const { proxy, store } = await faultyStore(onTestFinished);
    proxy.inject(requests, fault, times);
    expect(await put(store, bytes)).toMatchObject({ size: bytes.length });
    expect(proxy.requests.filter((line) => requests.test(line)).length).toBeGreaterThan(times);
    expect((await read(store, bytes)).equals(bytes)).toBe(true);
  });

  it.for<[string, Buffer, RegExp, Fault]>([
    ['answers 500 to an object', small, PUT, answer(500, 'InternalError')],
    ['answers 503 to a part', large, PART, answer(503, 'SlowDown')],
    ['stalls before the first answer', small, HEAD, stall],
    ['stalls before the answer to an object', small, PUT, stall],
    ['stalls before the answer to the beginning', large, BEGIN, stall],
    ['stalls before the answer to a part', large, PART, stall],
    ['cuts the connection in a part', large, PART, cutUpload],
    ['says that the credentials have expired', large, PART, answer(400, 'ExpiredToken')],
    ['answers an error with status 200 at the completion', large, COMPLETE, answer(200, 'InternalError')],
    ['states another ETag of a part', large, PART, alter('etag', () => '"00000000000000000000000000000000"')],
  ])('stores nothing if the storage %s', async ([_, bytes, requests, fault], { onTestFinished }) => {
    const { proxy, store, sound } = await faultyStore(onTestFinished, HASTY);
    proxy.inject(requests, fault, ALWAYS);
    await expect(put(store, bytes)).rejects.toMatchObject({ code: 'store-unavailable' });
    expect(await sound.stat(digestOfBytes(bytes))).toBeNull();
    expect(await sound.sweepUploads!(Date.now() + 60_000)).toBe(0);
    expect(await put(sound, bytes)).toMatchObject({ size: bytes.length });
  });

  it('repeats a short request long before its connection counts as idle', async ({ onTestFinished }) => {
    const { proxy, store } = await faultyStore(onTestFinished, {
      ...STEADY,
      timeouts: { ...STEADY.timeouts, idle: 60_000 },
    });
    proxy.inject(HEAD, stall);
    proxy.inject(BEGIN, stall);
    expect(await put(store, large)).toMatchObject({ size: large.length });
  });

  it('survives a completed upload that the storage no longer knows', async ({ onTestFinished }) => {
    const { proxy, store } = await faultyStore(onTestFinished);
    proxy.inject(COMPLETE, loseAnswer);
    proxy.inject(COMPLETE, answer(404, 'NoSuchUpload'));
    expect(await put(store, large)).toMatchObject({ size: large.length });
    expect((await read(store, large)).equals(large)).toBe(true);
  });

  it('is no success if the storage lost it', async ({ onTestFinished }) => {
    const { proxy, store, sound } = await faultyStore(onTestFinished, HASTY);
    proxy.inject(COMPLETE, answer(404, 'NoSuchUpload'));
    await expect(put(store, large)).rejects.toMatchObject({ code: 'store-unavailable' });
    expect(await sound.stat(digestOfBytes(large))).toBeNull();
  });

  it('is no success if the storage states another size', async ({ onTestFinished }) => {
    const { proxy, store } = await faultyStore(onTestFinished);
    proxy.inject(
      HEAD,
      alter('content-length', (size) => String(Number(size) - 1)),
      ALWAYS,
    );
    const refused = { code: 'store-unavailable', fields: { expected: small.length, actual: small.length - 1 } };
    await expect(put(store, small)).rejects.toMatchObject(refused);
    proxy.heal();
    await put(store, small);
    expect((await read(store, small)).equals(small)).toBe(true);
  });

  it('that is aborted ends the parts that are being sent', async ({ onTestFinished }) => {
    const { proxy, store } = await faultyStore(onTestFinished);
    proxy.inject(PART, stall, ALWAYS);
    const controller = new AbortController();
    const putting = store.put(digestOfBytes(large), inChunks(large), large.length, controller.signal);
    const ended = expect(putting).rejects.toThrow('stopped');
    await vi.waitFor(() => expect(proxy.requests.some((line) => PART.test(line))).toBe(true));
    controller.abort(new Error('stopped'));
    await ended;
    expect(proxy.requests.filter((line) => PART.test(line))).toHaveLength(1);
    expect(await store.sweepUploads!(Date.now() + 60_000)).toBe(0);
  });
});

describe.concurrent('a download', () => {
  it.for<[string, Fault, number]>([
    ['a stall before the answer', stall, 1],
    ['a stall before the first byte', stallAfter(0), 1],
    ['two stalls in the middle', stallAfter(3 * MIB), 2],
    ['two cuts in the middle', cutAfter(3 * MIB), 2],
    ['a cut before the first byte', cutAfter(0), 3],
    ['two answers 500', answer(500, 'InternalError'), 2],
    ['credentials that expire', answer(400, 'ExpiredToken'), 1],
  ])('survives %s', async ([_, fault, times], { onTestFinished }) => {
    const { proxy, store, sound } = await faultyStore(onTestFinished);
    await put(sound, large);
    proxy.inject(GET, fault, times);
    expect((await read(store, large)).equals(large)).toBe(true);
    expect(proxy.requests.filter((line) => GET.test(line)).length).toBeGreaterThan(times);
  });

  it('goes on within the range that was asked for', async ({ onTestFinished }) => {
    const { proxy, store, sound } = await faultyStore(onTestFinished);
    await put(sound, large);
    proxy.inject(GET, cutAfter(2 * MIB), 2);
    const part = await bytesOf(await store.get(digestOfBytes(large), { start: 3 * MIB + 1, end: 8 * MIB }));
    expect(part.equals(large.subarray(3 * MIB + 1, 8 * MIB + 1))).toBe(true);
  });

  it('survives expired credentials and a stall after a cut', async ({ onTestFinished }) => {
    const { proxy, store, sound } = await faultyStore(onTestFinished);
    await put(sound, large);
    proxy.inject(GET, cutAfter(MIB));
    proxy.inject(GET, answer(400, 'ExpiredToken'));
    proxy.inject(GET, stallAfter(2 * MIB));
    expect((await read(store, large)).equals(large)).toBe(true);
  });

  it.for<[string, Fault]>([
    ['does not answer', stall],
    ['sends no byte', stallAfter(0)],
    ['cuts every connection', cutAfter(0)],
    ['answers 500', answer(500, 'InternalError')],
    ['refuses the credentials', answer(403, 'InvalidAccessKeyId')],
  ])('ends if the storage %s', async ([_, fault], { onTestFinished }) => {
    const { proxy, store, sound } = await faultyStore(onTestFinished, HASTY);
    await put(sound, large);
    proxy.inject(GET, fault, ALWAYS);
    await expect(read(store, large)).rejects.toMatchObject({ code: 'store-unavailable' });
  });

  it.for<[string, Fault]>([
    ['does not answer', stall],
    ['sends no more byte', stallAfter(0)],
    ['refuses the credentials', answer(403, 'InvalidAccessKeyId')],
    ['ignores ranges', ignoreRange],
  ])('ends if, after a cut, the storage %s', async ([_, fault], { onTestFinished }) => {
    const { proxy, store, sound } = await faultyStore(onTestFinished, HASTY);
    await put(sound, large);
    proxy.inject(GET, cutAfter(3 * MIB));
    proxy.inject(GET, fault, ALWAYS);
    await expect(read(store, large)).rejects.toMatchObject({ code: 'store-unavailable' });
  });

  it('that the reader leaves ends its connection, though no byte arrives', async ({ onTestFinished }) => {
    const { proxy, store, sound } = await faultyStore(onTestFinished);
    await put(sound, large);
    proxy.inject(GET, stallAfter(100_000));
    let bytes = 0;
    for await (const chunk of await store.get(digestOfBytes(large))) {
      bytes += chunk.length;
      if (bytes === 100_000) break;
    }
    await vi.waitFor(() => expect(proxy.open()).toBe(0));
  });
});
