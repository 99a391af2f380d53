import { createHash } from 'node:crypto';

export interface Part {
  /** Begins at 1. */
  number: number;
  /** Belongs to the consumer until it calls `release`. */
  bytes: Buffer;
  sha256: Buffer;
  isLast: boolean;
  /** Lets the buffer be filled again. */
  release(): void;
}

/**
 * Cuts bytes into parts of equal size; the last one may be smaller, and the only one empty. An error of `bytes` comes instead
 * of the last part. Buffers are filled again after their release, since the garbage collector frees large ones late.
 */
export async function* partsOf(bytes: AsyncIterable<Uint8Array>, partSize: number): AsyncGenerator<Part> {
  const free: Buffer[] = [];
  let filling = take();
  let filled = 0;
  let number = 1;
  let hash = createHash('sha256');
  for await (const chunk of bytes) {
    for (let taken = 0; taken < chunk.length; ) {
      // A full part is kept back until more bytes come, because it may be the last one.
      if (filled === partSize) yield next(false);
      const piece = chunk.subarray(taken, taken + partSize - filled);
      filling.set(piece, filled);
      hash.update(piece);
      taken += piece.length;
      filled += piece.length;
    }
  }
  yield next(true);

  function next(isLast: boolean): Part {
    const buffer = filling;
    const part = { number, bytes: buffer.subarray(0, filled), sha256: hash.digest(), isLast };
    if (!isLast) {
      filling = take();
      filled = 0;
      number++;
      hash = createHash('sha256');
    }
    return { ...part, release: () => free.push(buffer) };
  }

  function take(): Buffer {
    return free.pop() ?? Buffer.allocUnsafeSlow(partSize);
  }
}
