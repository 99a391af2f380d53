import fc from 'fast-check';
import { expect, it } from 'vitest';
import { inStep } from '../../src/artifacts/in-step.ts';
import { inChunks, someBytes } from '../support/bytes.ts';

/** Copies what it gets, and leaves after a number of chunks. */
async function consume(bytes: AsyncIterable<Uint8Array>, chunks: number, pauses: number[]): Promise<Buffer> {
  const got: Uint8Array[] = [];
  if (chunks === 0) return Buffer.alloc(0);
  for await (const chunk of bytes) {
    for (let i = pauses[got.length % pauses.length] ?? 0; i > 0; i--) await new Promise(setImmediate);
    got.push(Uint8Array.from(chunk));
    if (got.length === chunks) break;
  }
  return Buffer.concat(got);
}

it('gives two consumers the same bytes, whatever their pace, and to one alone if the other leaves', async () => {
  const pauses = fc.array(fc.nat(3), { maxLength: 4 });
  const property = fc.asyncProperty(
    fc.nat(40),
    fc.nat(12),
    fc.nat(12),
    pauses,
    pauses,
    async (size, stop, otherStop, p, q) => {
      const bytes = someBytes(size);
      const [one, other] = inStep(inChunks(bytes, 4));
      const leaving = (result: Buffer, who: typeof one) => who.return().then(() => result);
      const [first, second] = await Promise.all([
        consume(one, stop, p).then((result) => leaving(result, one)),
        consume(other, otherStop, q).then((result) => leaving(result, other)),
      ]);
      expect(first.equals(bytes.subarray(0, stop * 4))).toBe(true);
      expect(second.equals(bytes.subarray(0, otherStop * 4))).toBe(true);
    },
  );
  await fc.assert(property, { numRuns: 300 });
});

it('gives both the error of the source, and closes a source that both left', async () => {
  let closed = 0;
  async function* failing(fails: boolean) {
    try {
      yield Buffer.from('a');
      if (fails) throw new Error('cut');
      yield Buffer.from('b');
    } finally {
      closed++;
    }
  }
  const both = inStep(failing(true));
  const results = await Promise.allSettled(both.map((bytes) => consume(bytes, 5, [])));
  expect(results).toMatchObject([{ reason: { message: 'cut' } }, { reason: { message: 'cut' } }]);
  expect(closed).toBe(1);
  const left = inStep(failing(false));
  await Promise.all(left.map((bytes) => consume(bytes, 1, [])));
  expect(closed).toBe(2);
});
