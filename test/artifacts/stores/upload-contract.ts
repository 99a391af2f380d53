import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { Bucket } from '../../../src/artifacts/stores/bucket.ts';
import { bytesOf, digestOfBytes, someBytes } from '../../support/bytes.ts';
import { startTcpProxy } from '../../support/proxy.ts';

const MIB = 1024 * 1024;
const never = new AbortController().signal;
let seeds = 0;

export const sha256Of = (bytes: Buffer) => Buffer.from(digestOfBytes(bytes).slice('sha256:'.length), 'hex');

/** Returns the parts of an object, and the object. */
export function inParts(...sizes: number[]) {
  const parts = sizes.map((size) => someBytes(size, ++seeds));
  return { parts, bytes: Buffer.concat(parts), key: `sha256/${seeds}` };
}

export async function read(bucket: Bucket, key: string): Promise<Buffer | null> {
  const object = await bucket.read(key, null, never);
  return object && bytesOf(object.bytes);
}

/** Sends all parts of an object. */
export async function sendAll(bucket: Bucket, key: string, parts: Buffer[]) {
  const upload = await bucket.begin(key, never);
  for (const [index, part] of parts.entries()) await upload.send(index + 1, part, sha256Of(part), never);
  return upload;
}

/**
 * The rules of `PartUpload`, for one kind of bucket.
 *
 * @param open returns a bucket at an endpoint; default: that of the storage
 */
export function uploadContract(name: string, open: (endpoint?: string) => Bucket, endpoint: () => string): void {
  describe(`an upload of several parts to ${name}`, () => {
    it.each([
      [8 * MIB, 8 * MIB],
      [8 * MIB, 5],
      [8 * MIB, MIB + 5],
    ])('of %i and %i bytes is invisible until it is completed', async (...sizes) => {
      const bucket = open();
      const { parts, bytes, key } = inParts(...sizes);
      const upload = await sendAll(bucket, key, parts);
      expect(await bucket.stat(key, never)).toBeNull();
      for await (const found of bucket.list('', never)) expect(found.key).not.toBe(key);
      await upload.complete(never);
      expect(await bucket.stat(key, never)).toMatchObject({ size: bytes.length });
      expect((await read(bucket, key))!.equals(bytes)).toBe(true);
    });

    it('leaves nothing visible when it is aborted', async () => {
      const bucket = open();
      const { parts, bytes, key } = inParts(8 * MIB, 5);
      const upload = await sendAll(bucket, key, parts);
      await upload.abort(never);
      expect(await bucket.stat(key, never)).toBeNull();
      await (await sendAll(bucket, key, parts)).complete(never);
      expect((await read(bucket, key))!.equals(bytes)).toBe(true);
    });

    it('ends a part when its signal is aborted', async () => {
      const proxy = await startTcpProxy(endpoint());
      const bucket = open(endpoint().replace(/:\d+/, `:${proxy.port}`));
      const { parts, key } = inParts(8 * MIB, 5);
      const upload = await bucket.begin(key, never);
      proxy.hold();
      const controller = new AbortController();
      const sending = upload.send(1, parts[0]!, sha256Of(parts[0]!), controller.signal);
      const ended = expect(sending).rejects.toThrow();
      controller.abort();
      await ended;
      proxy.heal();
    });

    it('goes on when the connection was cut', async () => {
      const proxy = await startTcpProxy(endpoint());
      const bucket = open(endpoint().replace(/:\d+/, `:${proxy.port}`));
      const { parts, bytes, key } = inParts(8 * MIB, 8 * MIB, 5);
      const upload = await sendAll(bucket, key, parts.slice(0, 1));
      proxy.refuse();
      proxy.cut();
      const sending = upload.send(2, parts[1]!, sha256Of(parts[1]!), never);
      sending.catch(() => {}); // awaited below
      await sleep(50);
      proxy.heal();
      await sending;
      await upload.send(3, parts[2]!, sha256Of(parts[2]!), never);
      proxy.cut();
      await upload.complete(never);
      expect((await read(bucket, key))!.equals(bytes)).toBe(true);
    });
  });
}
