import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, test } from 'vitest';
import { checkGolden, difference } from '../../src/loader/golden.ts';
import { temporaryFolder } from '../support/folder.ts';

const agree = (expected: unknown, actual: unknown, tolerance = 1e-6) => difference(expected, actual, tolerance);

describe('an answer agrees', () => {
  test.each<[string, unknown, unknown]>([
    ['a number within the tolerance', 0.5, 0.5000005],
    ['a large number within the tolerance of its size', 1e9, 1e9 + 500],
    ['a negative number', -1e9, -1e9 - 500],
    ['a small number within the tolerance of one', 1e-9, 5e-7],
    ['zeros of either sign', 0, -0],
    ['lists', [1, [2, 3]], [1.0000001, [2, 3]]],
    ['objects, in any order of their keys', { a: 1, b: [{ c: 'x' }] }, { b: [{ c: 'x' }], a: 1 }],
    ['a key that JSON would leave out', { a: 1 }, { a: 1, b: undefined }],
    ['floats', [0.1, 0.2], Float32Array.of(0.1, 0.2)],
    ['whole tensors', { label: [3], probabilities: [[0.25]] }, { label: [3n], probabilities: [Float32Array.of(0.25)] }],
    ['64-bit integers', [1, -2], BigInt64Array.of(1n, -2n)],
    ['a single 64-bit integer', 7, 7n],
    ['text, booleans and null', ['a', true, null], ['a', true, null]],
  ])('%s', (_, expected, actual) => {
    expect(agree(expected, actual)).toBeNull();
  });
});

describe('an answer differs, and the difference is named', () => {
  test.each<[string, unknown, unknown, string]>([
    ['beyond the tolerance', 0.5, 0.500002, 'output is 0.500002, not 0.5'],
    ['a small number is not compared with its own size', 1e-9, 2e-6, 'output is 0.000002, not 1e-9'],
    ['NaN', 1, Number.NaN, 'output is NaN, not 1'],
    ['infinity', 1, Number.POSITIVE_INFINITY, 'output is Infinity, not 1'],
    ['null instead of a number', 1, null, 'output is null, not 1'],
    ['NaN instead of null', null, Number.NaN, 'output is NaN, not null'],
    ['a number as text', 1, '1', 'output is "1", not 1'],
    ['text', 'cat', 'dog', 'output is "dog", not "cat"'],
    ['an entry of a list', [1, [2, 3]], [1, [2, 4]], 'output[1][1] is 4, not 3'],
    ['a shorter list', [1, 2], Float32Array.of(1), 'output has 1 entries, not 2'],
    ['a longer list', [1], [1, 1], 'output has 2 entries, not 1'],
    ['an entry of an object', { a: { b: [1] } }, { a: { b: [2] } }, 'output.a.b[0] is 2, not 1'],
    ['a missing key', { a: 1, b: 2 }, { a: 1 }, 'output.b is undefined, not 2'],
    ['an extra key', { a: 1 }, { a: 1, b: 2 }, 'output.b is 2, not undefined'],
    ['an object instead of a list', [1], { 0: 1 }, 'output is {"0":1}, not [1]'],
    ['a number instead of an object', { label: 1 }, 1, 'output is 1, not {"label":1}'],
    ['a value that JSON does not have', 1, { label: 1n }, 'output is {"label":"1"}, not 1'],
    ['undefined', [1], undefined, 'output is undefined, not [1]'],
  ])('%s', (_, expected, actual, where) => {
    expect(agree(expected, actual)).toBe(where);
  });

  it('with a tolerance of zero', () => {
    expect(agree(0.1, 0.1, 0)).toBeNull();
    expect(agree(0.1, 0.1 + Number.EPSILON, 0)).not.toBeNull();
  });

  it('even if it refers to itself', () => {
    const answer: Record<string, unknown> = { label: 1 };
    answer.self = answer;
    expect(agree({ label: 1 }, answer)).toMatch(/^output\.self is .*, not undefined$/);
    expect(agree(1, answer)).toMatch(/^output is .*, not 1$/);
  });
});

describe('golden requests', () => {
  const file = async (text: string) => {
    const path = join(await temporaryFolder(), 'golden.json');
    await writeFile(path, text);
    return path;
  };
  const requests = (...pairs: [unknown, unknown][]) => pairs.map(([input, output]) => ({ input, output }));
  const refusal = (message: string | RegExp) => ({ code: 'golden-mismatch', message: expect.stringMatching(message) });

  it('are sent one after another', async () => {
    const path = await file(JSON.stringify({ requests: requests([1, 2], [[2], [4]], [null, null]) }));
    const inputs: unknown[] = [];
    await checkGolden(path, async (input) => {
      inputs.push(input);
      return input === null ? null : Array.isArray(input) ? [4] : 2;
    });
    expect(inputs).toEqual([1, [2], null]);
  });

  it('stop at the first wrong answer, and name it', async () => {
    const path = await file(JSON.stringify({ tolerance: 0.1, requests: requests([1, 1], [2, 2], [3, 3]) }));
    let calls = 0;
    const predict = (input: unknown) => {
      calls++;
      return input === 2 ? 2.5 : input;
    };
    await expect(checkGolden(path, predict)).rejects.toMatchObject(refusal('^golden request 1: output is 2.5, not 2$'));
    expect(calls).toBe(2);
  });

  it('fail if the model throws, at once or later', async () => {
    const path = await file(JSON.stringify({ requests: requests([1, 1]) }));
    const failing = () => {
      throw new Error('no such input');
    };
    for (const predict of [failing, async () => failing()]) {
      await expect(checkGolden(path, predict)).rejects.toMatchObject(refusal(/request 0 .*no such input/));
    }
  });

  it('stop when the signal aborts', async () => {
    const path = await file(JSON.stringify({ requests: requests([1, 1], [2, 2]) }));
    const stop = new AbortController();
    const inputs: unknown[] = [];
    const checked = checkGolden(
      path,
      (input) => {
        inputs.push(input);
        stop.abort(new Error('overtaken'));
        return input;
      },
      stop.signal,
    );
    await expect(checked).rejects.toThrow('overtaken');
    expect(inputs).toEqual([1]);
  });

  test.each([
    ['not JSON', 'rubbish'],
    ['not of this form', '{"requests":[{"input":1}]}'],
    ['with a tolerance below zero', '{"tolerance":-1,"requests":[]}'],
    ['larger than 1 MiB', JSON.stringify({ requests: [], more: 'x'.repeat(1024 * 1024) })],
  ])('that are %s are a mismatch', async (_, text) => {
    await expect(checkGolden(await file(text), () => null)).rejects.toMatchObject(refusal(/cannot be read/));
  });

  it('are optional', async () => {
    await checkGolden(join(await temporaryFolder(), 'golden.json'), () => expect.unreachable());
  });
});
