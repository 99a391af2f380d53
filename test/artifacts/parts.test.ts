import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { type Part, partsOf } from '../../src/artifacts/parts.ts';
import { someBytes } from '../support/bytes.ts';

const CHUNKS = fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 12 });
const PART_SIZE = fc.integer({ min: 1, max: 50 });

/** Yields chunks in one buffer that is filled again for each, as the contract of a store allows. */
async function* reusing(chunks: Uint8Array[]): AsyncGenerator<Uint8Array> {
  const buffer = Buffer.alloc(40);
  for (const chunk of chunks) {
    buffer.set(chunk);
    yield buffer.subarray(0, chunk.length);
    buffer.fill(0xee);
  }
}

it('cuts any chunks into parts of any size, in order and with their hashes', async () => {
  // `held` parts are in use when the next one is asked for.
  const check = async (chunks: Uint8Array[], partSize: number, held: number) => {
    const bytes = Buffer.concat(chunks);
    const inUse: Part[] = [];
    const sizes: number[] = [];
    let last: Part | null = null;
    const release = (part: Part) => {
      const start = (part.number - 1) * partSize;
      const expected = bytes.subarray(start, start + partSize);
      expect(part.bytes.equals(expected), `part ${part.number}`).toBe(true);
      expect(part.sha256.equals(createHash('sha256').update(expected).digest())).toBe(true);
      part.bytes.fill(0xdd);
      part.release();
    };
    for await (const part of partsOf(reusing(chunks), partSize)) {
      expect(last?.isLast ?? false).toBe(false);
      expect(part.number).toBe(sizes.length + 1);
      sizes.push(part.bytes.length);
      inUse.push(part);
      if (inUse.length > held) release(inUse.shift()!);
      last = part;
    }
    inUse.forEach(release);
    expect(last?.isLast).toBe(true);
    expect(sizes.slice(0, -1).every((size) => size === partSize)).toBe(true);
    expect(sizes.at(-1)).toBeGreaterThan(bytes.length === 0 ? -1 : 0);
    expect(sizes.reduce((sum, size) => sum + size)).toBe(bytes.length);
  };
  await fc.assert(fc.asyncProperty(CHUNKS, PART_SIZE, fc.integer({ min: 0, max: 4 }), check));
});

it('yields no last part if the bytes end with an error', async () => {
  const check = async (chunks: Uint8Array[], partSize: number) => {
    async function* failing() {
      yield* reusing(chunks);
      throw new Error('the sender left');
    }
    const parts: Part[] = [];
    const taking = async () => {
      for await (const part of partsOf(failing(), partSize)) parts.push(part);
    };
    await expect(taking()).rejects.toThrow('the sender left');
    expect(parts.some(({ isLast }) => isLast)).toBe(false);
    expect(parts.length * partSize).toBeLessThanOrEqual(Buffer.concat(chunks).length);
  };
  await fc.assert(fc.asyncProperty(CHUNKS, PART_SIZE, check));
});

it('fills released buffers again', async () => {
  const buffers = new Set<ArrayBufferLike>();
  for await (const { bytes, release } of partsOf(reusing([someBytes(40), someBytes(40), someBytes(40)]), 7)) {
    buffers.add(bytes.buffer);
    release();
  }
  expect(buffers.size).toBeLessThanOrEqual(2);
});

it('ends its source when the consumer leaves', async () => {
  let ended = false;
  async function* endless() {
    try {
      for (;;) yield someBytes(10);
    } finally {
      ended = true;
    }
  }
  for await (const _ of partsOf(endless(), 5)) break;
  expect(ended).toBe(true);
});
