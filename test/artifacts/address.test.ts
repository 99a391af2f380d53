import { expect, it } from 'vitest';
import { nameOf, parseStoreAddress } from '../../src/artifacts/address.ts';

const bucket = { bucket: 'models', prefix: '', endpoint: null };

it.each<[string, object]>([
  ['file:', { kind: 'file', folder: null }],
  ['file:/mnt/shared', { kind: 'file', folder: '/mnt/shared' }],
  ['file:///mnt/shared', { kind: 'file', folder: '/mnt/shared' }],
  ['file:./other', { kind: 'file', folder: './other' }],
  ['s3://models', { kind: 's3', region: null, ...bucket }],
  ['s3://models/', { kind: 's3', region: null, ...bucket }],
  ['s3://models/a/b/?region=eu-west-1', { kind: 's3', ...bucket, prefix: 'a/b/', region: 'eu-west-1' }],
  [
    's3://models/a%20b?endpoint=http://127.0.0.1:8333/',
    { kind: 's3', region: null, bucket: 'models', prefix: 'a b/', endpoint: 'http://127.0.0.1:8333' },
  ],
  ['azure://models/a', { kind: 'azure', ...bucket, prefix: 'a/' }],
  ['gs://my_models.example', { kind: 'gs', ...bucket, bucket: 'my_models.example' }],
  ['nats:', { kind: 'nats', url: null }],
  ['nats://host:4222', { kind: 'nats', url: 'nats://host:4222' }],
  ['tls://host', { kind: 'nats', url: 'tls://host' }],
])('parses %s', (text, expected) => {
  expect(parseStoreAddress(text)).toEqual(expected);
});

it.each([
  ['', /must be file:/],
  ['models', /must be file:/],
  ['ftp://models', /must be file:/],
  ['s3:', /must be s3:/],
  ['s3://', /must be s3:/],
  ['s3:///a', /must be s3:/],
  ['s3://key:secret@models', /without credentials/],
  ['s3://models:9000', /must be s3:/],
  ['s3://models#a', /must be s3:/],
  ['s3://models/%E0%A4%A', /percent-encoded/],
  ['s3://models?endpoint=9000', /endpoint must be/],
  ['s3://models?endpoint=file:///etc', /endpoint must be/],
  ['s3://models?endpoint=http://a:b@host', /no credentials/],
  ['s3://models?acl=public', /unknown parameter "acl"; known: endpoint, region/],
  ['azure://models?region=x', /unknown parameter "region"/],
  ['file:/mnt?shared=maybe', /folder only/],
  ['nats://', /must be nats:/],
  ['nats://host?x=1', /must be nats:/],
])('refuses %j', (text, message) => {
  expect(() => parseStoreAddress(text)).toThrow(message);
});

it('names a store without its credentials', () => {
  for (const [text, name] of [
    ['file:', 'file:'],
    ['s3://models/a/?endpoint=http://127.0.0.1:8333', 's3://models/a'],
    ['nats://user:password@host:4222', 'nats://host:4222'],
    ['nats://user:password@one:4222,user:password@two:4222', 'nats://one:4222,two:4222'],
  ] as const) {
    expect(nameOf(parseStoreAddress(text))).toBe(name);
  }
});
