import { createReadStream } from 'node:fs';

/** The bytes of a file. A generator opens it on the first read: a stream that nobody reads would never close it. */
export async function* bytesIn(path: string): AsyncGenerator<Uint8Array> {
  yield* createReadStream(path, { highWaterMark: 256 * 1024 });
}
