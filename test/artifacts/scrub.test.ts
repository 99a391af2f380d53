import fc from 'fast-check';
import { expect, test } from 'vitest';
import { dueAt, inspectBlob, slowly, stateShownBy } from '../../src/artifacts/scrub.ts';
import { type Digest, sha256Hex } from '../../src/domain/digest.ts';
import { Problem } from '../../src/domain/errors.ts';

test('the items of a walk are due in order, evenly, and all within the period', () => {
  const whole = (max: number) => fc.integer({ min: 1, max });
  fc.assert(
    fc.property(whole(1e13), whole(1e6), whole(8_760), (started, count, hours) => {
      const period = hours * 3600_000;
      const due = (item: number) => dueAt(started, item, count, period);
      expect(due(0)).toBe(started);
      expect(due(count)).toBe(started + period);
      const item = Math.floor(count / 2);
      expect(due(item + 1)).toBeGreaterThanOrEqual(due(item));
      expect(due(item + 1) - due(item)).toBeCloseTo(period / count, 0);
    }),
  );
});

test.each([
  [new Problem('unknown-blob', 'There is none.'), 'missing'],
  [new Problem('checksum-mismatch', 'They differ.'), 'damaged'],
  [Object.assign(new Error('read'), { code: 'EIO' }), 'damaged'],
  [Object.assign(new Error('open'), { code: 'EACCES' }), null],
  [Object.assign(new Error('open'), { code: 'EMFILE' }), null],
  [new Problem('volume-full', 'It is full.'), null],
])('%s shows that a blob is %s', (error, state) => {
  expect(stateShownBy(error)).toBe(state);
});

test('stops in the middle of a large blob', async () => {
  const stop = new AbortController();
  async function* endless() {
    for (;;) yield new Uint8Array(1024 * 1024);
  }
  const digest: Digest = `sha256:${sha256Hex(Buffer.from(''))}`;
  const inspected = inspectBlob({ get: async () => endless() as never }, digest, stop.signal);
  stop.abort();
  await expect(inspected).rejects.toThrow('aborted');
});

test('passes on every byte', async () => {
  const chunks = [Buffer.from('one'), Buffer.from('two')];
  const passed: Uint8Array[] = [];
  for await (const chunk of slowly(fromArray(chunks), new AbortController().signal)) passed.push(chunk);
  expect(passed).toEqual(chunks);
});

async function* fromArray(chunks: Uint8Array[]) {
  yield* chunks;
}
