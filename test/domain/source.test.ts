import { describe, expect, test } from 'vitest';
import { canonicalManifest, digestOf, Manifest } from '../../src/domain/manifest.ts';
import { isSource, MAX_SOURCE_LENGTH, Source } from '../../src/domain/source.ts';

test.each([
  's3://datasets/models/fraud.onnx',
  's3://datasets/date=2026-03-03/part 1.parquet',
  's3://datasets/größe.bin',
  'azure://models/fraud/model.bin',
  'gs://models.example.com/fraud/model.bin',
  'https://files.example/models/fraud.onnx',
  'https://files.example:8443/models/a%20b.onnx',
  'https://127.0.0.1:8443/models/fraud.onnx',
])('%s is a source', (source) => {
  expect(isSource(source)).toBe(true);
});

describe('not a source', () => {
  test.each([
    '',
    'models/fraud.onnx',
    'file:///etc/passwd',
    'http://files.example/models/fraud.onnx',
    'ftp://files.example/fraud.onnx',
    's3:datasets/fraud.onnx',
    's3://datasets',
    's3://datasets/',
    's3://datasets/models/',
    's3://datasets//models/fraud.onnx',
    's3://datasets/models//fraud.onnx',
    's3://datasets/models/../secret.bin',
    's3://datasets/models/..',
    's3://datasets/./fraud.onnx',
    's3://datasets/models/%2e%2e/secret.bin',
    's3://datasets/models/%2E%2E%2fsecret.bin',
    's3://datasets/models\\fraud.onnx',
    's3://datasets/fraud.onnx?versionId=1',
    's3://datasets/fraud.onnx#part',
    's3://datasets/fraud\u0000.onnx',
    's3://datasets/fraud\n.onnx',
    's3://datasets/fraud\u0085.onnx',
    's3://datasets/\ud800.onnx',
    's3://key:secret@datasets/fraud.onnx',
    's3://datasets:9000/fraud.onnx',
    'S3://datasets/fraud.onnx',
    ' s3://datasets/fraud.onnx',
    'https:files.example/fraud.onnx',
    'https://files.example',
    'https://files.example/',
    'https://files.example/models/',
    'https://files.example//models/fraud.onnx',
    'https://files.example/models/../secret',
    'https://files.example/models/%2e%2e/secret',
    'https://files.example/models/.%2E/secret',
    'https://files.example/models/..%2fsecret',
    'https://files.example/models/a%5cb',
    'https://files.example/models/a%00b',
    'https://files.example/models/%zz',
    'https://files.example/models/%ff',
    'https://files.example/models/a b',
    'https://files.example/models/a\nb',
    'https://files.example/models\\a',
    'https://files.example:443/models/a',
    'https://FILES.example/models/a',
    'https://user:secret@files.example/models/a',
    'https://@files.example/models/a',
    'https://files.example/models/a?x=1',
    'https://files.example/models/a?',
    'https://files.example/models/a#',
    // Other spellings of 127.0.0.1.
    'https://2130706433/a',
    'https://0x7f000001/a',
    'https://0177.0.0.1/a',
    'https://127.1/a',
    'https://[::ffff:127.0.0.1]/a',
    'https://[0:0:0:0:0:0:0:1]/a',
    'https://１２７.0.0.1/a',
  ])('%j', (source) => {
    expect(isSource(source)).toBe(false);
  });

  test('a longer one than the maximum', () => {
    const source = `s3://datasets/${'a'.repeat(MAX_SOURCE_LENGTH)}`;
    expect(Source.safeParse(source).success).toBe(false);
  });
});

test('the digest of a manifest covers the source, and is the same as before without one', () => {
  const artifact = { path: 'model.onnx', digest: `sha256:${'0'.repeat(64)}` as const, size: 1 };
  const digest = (artifacts: object[]) => digestOf(canonicalManifest(Manifest.parse({ artifacts })));
  const plain = digest([artifact]);
  expect(plain).toBe('sha256:01bbc80d843cc00fa66b00a75a4f4f1bf9d3a93599d58f89a1b1e1ec30456723');
  expect(digest([{ ...artifact, source: 's3://datasets/fraud.onnx' }])).not.toBe(plain);
});
