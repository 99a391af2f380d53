import { expect, test } from 'vitest';
import { parseReferencePrefix, parseReferencePrefixes, prefixOf } from '../../../src/artifacts/references/prefix.ts';

test.each([
  ['s3://datasets/models', 's3://datasets/models/'],
  ['s3://datasets/models/?endpoint=http://127.0.0.1:8333&region=eu-west-1', 's3://datasets/models/'],
  ['s3://datasets/?region=eu-west-1', 's3://datasets/'],
  ['azure://models/fraud', 'azure://models/fraud/'],
  ['gs://models', 'gs://models/'],
  ['https://files.example/models', 'https://files.example/models/'],
  ['https://files.example', 'https://files.example/'],
  ['https://10.0.0.7:8443/', 'https://10.0.0.7:8443/'],
])('%s allows what begins with %s', (given, text) => {
  expect(parseReferencePrefix(given).text).toBe(text);
});

test.each([
  '',
  'file:/data',
  'nats:',
  'http://files.example/models/',
  'https://user:secret@files.example/models/',
  'https://files.example/models/?x=1',
  'https://files.example/models/#x',
  'https://files.example/models/../',
  'https://files.example//models/',
  'https://2130706433/models/',
  's3://key:secret@datasets/models/',
  's3://datasets/models/?version=1',
  's3://datasets/models//old/',
  's3://datasets/%2e%2e/',
])('%j is no prefix', (given) => {
  expect(() => parseReferencePrefix(given)).toThrow();
});

test('a prefix may not be listed twice, whatever its parameters are', () => {
  expect(() => parseReferencePrefixes(['s3://datasets/a', 's3://datasets/a/?region=eu-west-1'])).toThrow('twice');
});

const prefixes = parseReferencePrefixes([
  's3://datasets/models/',
  's3://datasets/models/fraud/',
  'https://files.example/models/',
  'https://127.0.0.1:8443/',
]);

test.each([
  ['s3://datasets/models/a.bin', 's3://datasets/models/'],
  ['s3://datasets/models/fraud/a.bin', 's3://datasets/models/fraud/'],
  ['s3://datasets/models/fraudulent/a.bin', 's3://datasets/models/'],
  ['https://files.example/models/a', 'https://files.example/models/'],
  ['https://127.0.0.1:8443/a', 'https://127.0.0.1:8443/'],
])('%s is allowed by %s', (source, text) => {
  expect(prefixOf(prefixes, source)?.text).toBe(text);
});

test.each([
  's3://datasets/models-secret/a.bin',
  's3://datasets/model/a.bin',
  's3://dataset/models/a.bin',
  's3://datasets/Models/a.bin',
  'gs://datasets/models/a.bin',
  'https://files.example/models',
  'https://files.example/other/a',
  'https://files.example:8443/models/a',
  'https://files.example.evil.example/models/a',
  'https://127.0.0.1/a',
  'https://127.0.0.1:84430/a',
])('%s is outside of all prefixes', (source) => {
  expect(prefixOf(prefixes, source)).toBeNull();
});
