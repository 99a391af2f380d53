import { expect, it } from 'vitest';
import type { Bucket } from '../../../src/artifacts/stores/bucket.ts';
import { sha256Of } from './upload-contract.ts';

const never = new AbortController().signal;

/** The rule of `OpenObject.etag`, for one kind of bucket: references notice other bytes by it. */
export function etagContract(name: string, open: () => Bucket): void {
  it(`${name} states a new ETag for other bytes, and the same one for the whole and a range`, async () => {
    const bucket = open();
    const put = async (text: string) => {
      await bucket.put('model.onnx', Buffer.from(text), sha256Of(Buffer.from(text)), never);
      return etagsOf(bucket, 'model.onnx');
    };
    const [first, ofRange] = await put('first');
    expect(first).toEqual(expect.any(String));
    expect(ofRange).toBe(first);
    expect(await put('other')).not.toContain(first);
  });
}

async function etagsOf(bucket: Bucket, key: string): Promise<(string | undefined)[]> {
  const etags = [];
  for (const range of [null, { start: 1, end: 2 }]) {
    const { bytes, etag } = (await bucket.read(key, range, never))!;
    for await (const _ of bytes);
    etags.push(etag);
  }
  return etags;
}
