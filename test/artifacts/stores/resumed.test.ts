import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { ByteRange } from '../../../src/artifacts/store.ts';
import type { OpenObject } from '../../../src/artifacts/stores/bucket.ts';
import { resumed } from '../../../src/artifacts/stores/resumed.ts';
import { bytesOf, someBytes } from '../../support/bytes.ts';

const bytes = someBytes(100);
const never = new AbortController().signal;

/** What one reading yields: so many bytes, and then an error or the end. Later readings yield all that is asked for. */
interface Reading {
  sent: number;
  fails: boolean;
}

/** A bucket with one object, whose readings end as they are told. */
function bucketWith(readings: Reading[], afterFirst: () => OpenObject | null | undefined = () => undefined) {
  const asked: (ByteRange | null)[] = [];
  const read = async (_: string, range: ByteRange | null, signal: AbortSignal): Promise<OpenObject | null> => {
    asked.push(range);
    const other = asked.length > 1 ? afterFirst() : undefined;
    if (other !== undefined) return other;
    const wanted = bytes.subarray(range?.start ?? 0, range ? range.end + 1 : bytes.length);
    const { sent, fails } = readings.shift() ?? { sent: wanted.length, fails: false };
    async function* piecewise() {
      for (let at = 0; at < Math.min(sent, wanted.length); at += 7) {
        signal.throwIfAborted();
        yield wanted.subarray(at, Math.min(at + 7, sent));
      }
      if (fails) throw new Error('the connection was cut');
    }
    return { length: wanted.length, bytes: piecewise() };
  };
  return { bucket: { name: 'a bucket', read }, asked };
}

const RANGE = fc.option(
  fc.tuple(fc.nat(99), fc.nat(99)).map(([a, b]) => ({ start: Math.min(a, b), end: Math.max(a, b) })),
);
const READINGS = fc.array(fc.record({ sent: fc.nat(60), fails: fc.boolean() }), { maxLength: 2 });

it('yields the same bytes, whatever the connections that were cut had sent', async () => {
  const check = async (range: ByteRange | null, readings: Reading[]) => {
    const { bucket, asked } = bucketWith(readings);
    const read = await bytesOf((await resumed(bucket, 'key', range, 1_000, never))!);
    const [start, end] = range ? [range.start, range.end + 1] : [0, 100];
    expect(read.equals(bytes.subarray(start, end))).toBe(true);
    expect(asked[0]).toEqual(range);
    for (const later of asked.slice(1)) expect(later?.end).toBe(end - 1);
  };
  // All at once, because of the pauses before each further attempt.
  await Promise.all(fc.sample(fc.tuple(RANGE, READINGS), 200).map(([range, readings]) => check(range, readings)));
});

it('does not count the time that its consumer takes', async () => {
  const { bucket, asked } = bucketWith([]);
  let read = 0;
  for await (const chunk of (await resumed(bucket, 'key', null, 50, never))!) {
    read += chunk.length;
    if (read === 7) await sleep(150);
  }
  expect(read).toBe(100);
  expect(asked).toHaveLength(1);
});

it('yields no more than was promised', async () => {
  const bucket = {
    name: 'a bucket',
    read: async () => ({ length: 90, bytes: bucketStream() }),
  };
  async function* bucketStream() {
    yield bytes;
  }
  const read = await bytesOf((await resumed(bucket, 'key', null, 1_000, never))!);
  expect(read.equals(bytes.subarray(0, 90))).toBe(true);
});

it('says that the object was deleted while it was read', async () => {
  const { bucket } = bucketWith([{ sent: 10, fails: true }], () => null);
  const reading = bytesOf((await resumed(bucket, 'key', null, 1_000, never))!);
  await expect(reading).rejects.toMatchObject({ code: 'store-unavailable', message: expect.stringContaining('key') });
});

it('ends at once when it is aborted between two attempts', async () => {
  const controller = new AbortController();
  const { bucket, asked } = bucketWith([{ sent: 10, fails: true }], () => {
    throw new Error('refused');
  });
  const opened = (await resumed(bucket, 'key', null, 1_000, controller.signal))!;
  const reading = bytesOf(opened);
  const ended = expect(reading).rejects.toThrow('stopped');
  while (asked.length < 2) await sleep(5);
  controller.abort(new Error('stopped'));
  await ended;
  expect(asked).toHaveLength(2);
});
