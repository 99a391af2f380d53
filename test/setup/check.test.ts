import { expect, test } from 'vitest';
import { reasonOf } from '../../src/files/system-error.ts';
import { listed } from '../../src/setup/check.ts';

test('joins reasons without their full stops', () => {
  expect(reasonOf(new Error('The stream is gone.'))).toBe('The stream is gone');
  expect(reasonOf(new TypeError('fetch failed', { cause: new Error('No route.') }))).toBe('No route');
  expect(reasonOf('Refused.')).toBe('Refused');
  expect(listed(['a is a link.', 'b is not JSON.'])).toBe('a is a link; b is not JSON');
});
