import { expect, test } from 'vitest';
import { inspectBlob, slowly, stateShownBy } from '../../src/artifacts/scrub.ts';
import { type Digest, sha256Hex } from '../../src/domain/digest.ts';
import { Problem } from '../../src/domain/errors.ts';

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
