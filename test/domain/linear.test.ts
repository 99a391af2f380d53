import { expect, test } from 'vitest';
import { requiresFromMetadata, requiresFromRequirements } from '../../src/domain/metadata.ts';
import { readMlModel } from '../../src/domain/mlmodel.ts';

/** Far more than linear parsing takes on a busy machine, and a fraction of what quadratic parsing takes on an idle one. */
const GENEROUS_MS = 15_000;

test.each<[string, () => unknown]>([
  ['requirements.txt: a name and spaces', () => requiresFromRequirements(`a${' '.repeat(400_000)}x`)],
  ['requirements.txt: extras and spaces', () => requiresFromRequirements(`a[b]${' '.repeat(400_000)}x`)],
  ['requirements.txt: nothing but spaces', () => requiresFromRequirements(' '.repeat(1_000_000))],
  ['requirements.txt: a range without end', () => requiresFromRequirements(`a${'==1,'.repeat(250_000)}`)],
  ['metadata.json: a version without end', () => requiresFromMetadata([{ python: '==1,'.repeat(250_000) }])],
  ['MLmodel: many keys', () => readMlModel(Array.from({ length: 40_000 }, (_, i) => `k${i}: 1\n`).join(''))],
  ['MLmodel: many errors', () => readMlModel('}'.repeat(100_000))],
])('%s: read in linear time', { timeout: 10 * GENEROUS_MS }, (_, read) => {
  const started = performance.now();
  read();
  expect(performance.now() - started).toBeLessThan(GENEROUS_MS);
});
