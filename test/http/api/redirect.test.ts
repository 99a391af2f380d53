import { Readable } from 'node:stream';
import { expect, it } from 'vitest';
import { onVolume } from '../../../src/artifacts/artifacts.ts';
import type { Addressable } from '../../../src/artifacts/store.ts';
import { openVolumeStore } from '../../../src/artifacts/stores/volume.ts';
import { publish } from '../../../src/commands/publish.ts';
import { file } from '../../commands/support.ts';
import { digestOfBytes } from '../../support/bytes.ts';
import { temporaryFolder } from '../../support/folder.ts';
import { type Asked, createTestApp, tokenOf } from '../support.ts';

const bytes = Buffer.from('the bytes of a model');
const digest = digestOfBytes(bytes);
const BLOB = `/api/blobs/${digest}`;
const FILE = '/api/models/fraud/versions/2.0.0/files/model.bin';
const ADDRESS = 'https://store.example/model?X-Signature=secret';
const accepting = { ...(await tokenOf('ana', 'admin')), 'Signalbox-Redirect': 'accept' };

/** An app whose store makes addresses as `addressOf` does; without it, it makes none. */
async function appWith(addressOf?: Addressable['addressOf']) {
  const artifacts = onVolume(await openVolumeStore(await temporaryFolder()));
  await artifacts.store.put(digest, Readable.from([bytes]));
  const { request, give, lines } = await createTestApp({
    artifacts: { ...artifacts, store: { ...artifacts.store, ...(addressOf && { addressOf }) } },
  });
  const artifact = { ...file('model.bin'), digest, size: bytes.length };
  give(publish, 'fraud', { version: '2.0.0', artifacts: [artifact] }, { at: '2026-03-04T14:00:00.000Z' });
  const at = '2026-03-05T14:00:00.000Z';
  const source = 's3://datasets/model.bin';
  const context = { verified: [{ source, digest, size: bytes.length, etag: null }] };
  give(publish, 'fraud', { version: '3.0.0', artifacts: [{ ...artifact, source }] }, { at, context });
  const ask = (path: string, { headers = {}, ...asked }: Asked = {}) =>
    request(path, { headers: { ...accepting, ...headers }, ...asked });
  return { ask, request, lines };
}

const address = async () => ADDRESS;

it.each([BLOB, FILE])(
  'a caller that accepts it is redirected from %s for a minute, and no cache keeps that',
  async (path) => {
    const asked: unknown[] = [];
    const { ask, lines } = await appWith(async (...blob) => {
      asked.push(blob);
      return ADDRESS;
    });
    const response = await ask(path);
    expect([response.status, await response.text()]).toEqual([307, '']);
    expect(Object.fromEntries(response.headers)).toMatchObject({
      location: ADDRESS,
      'cache-control': 'no-store',
      vary: 'Signalbox-Redirect',
    });
    expect(response.headers.get('etag')).toBeNull();
    expect(asked).toEqual([[digest, 60]]);
    expect(lines).toHaveLength(1);
    expect(JSON.stringify(lines)).not.toContain('secret');
  },
);

it('a range is redirected as well, unless it is outside the file', async () => {
  const { ask } = await appWith(address);
  expect((await ask(FILE, { headers: { Range: 'bytes=4-' } })).status).toBe(307);
  expect((await ask(FILE, { headers: { Range: 'bytes=400-' } })).status).toBe(416);
});

it.each<[string, Asked]>([
  ['caller that does not accept it', { headers: { 'Signalbox-Redirect': '' } }],
  ['caller that sends another value', { headers: { 'Signalbox-Redirect': 'yes' } }],
])('the bytes are sent to a %s', async (_, asked) => {
  const { ask } = await appWith(address);
  const response = await ask(BLOB, asked);
  expect([response.status, await response.text()]).toEqual([200, String(bytes)]);
  expect(response.headers.get('vary')).toBe('Signalbox-Redirect');
  expect(response.headers.get('location')).toBeNull();
});

it('a file that a version refers to elsewhere comes through the registry: the store has no address for it', async () => {
  const { ask } = await appWith(address);
  const response = await ask(FILE.replace('2.0.0', '3.0.0'));
  expect([response.status, await response.text()]).toEqual([200, String(bytes)]);
});

it('HEAD is answered, as the address is for GET only', async () => {
  const { ask } = await appWith(address);
  const response = await ask(BLOB, { method: 'HEAD' });
  expect([response.status, response.headers.get('content-length')]).toEqual([200, String(bytes.length)]);
});

it('a caller that has the bytes gets 304', async () => {
  const { ask } = await appWith(address);
  expect((await ask(FILE, { headers: { 'If-None-Match': `"${digest}"` } })).status).toBe(304);
});

it('the rules of access hold', async () => {
  const { ask, request } = await appWith(address);
  const anonymous = await request(FILE, { headers: { 'Signalbox-Redirect': 'accept' } });
  expect([anonymous.status, anonymous.headers.get('location')]).toEqual([401, null]);
  expect((await ask(BLOB.replace(/.$/, (last) => (last === '0' ? '1' : '0')))).status).toBe(404);
  expect((await ask(`${FILE}.other`)).status).toBe(404);
});

it.each<[string, Addressable['addressOf'] | undefined]>([
  ['makes no addresses', undefined],
  ['cannot sign', () => Promise.reject(new Error('no key'))],
])('the bytes of a store that %s are sent', async (_, addressOf) => {
  const { ask } = await appWith(addressOf);
  const response = await ask(BLOB);
  expect([response.status, await response.text()]).toEqual([200, String(bytes)]);
});
