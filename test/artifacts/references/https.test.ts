import type { lookup } from 'node:dns';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createHttpsSource, type HttpsOptions } from '../../../src/artifacts/references/https.ts';
import type { ByteRange } from '../../../src/artifacts/store.ts';
import { bytesOf } from '../../support/bytes.ts';
import { CA, type FilesServer, startFilesServer } from '../../support/files-server.ts';

const signal = new AbortController().signal;

function open(prefix: string, options: HttpsOptions = {}) {
  const source = createHttpsSource(prefix, { ca: CA, ...options });
  onTestFinished(() => source.close?.());
  return (key: string, range: ByteRange | null = null, stop = signal) => source.read(key, range, stop);
}

async function served() {
  const server = await startFilesServer();
  server.files.set('/models/a.bin', { bytes: Buffer.from('0123456789'), etag: '"one"' });
  return { server, read: open(`https://127.0.0.1:${server.port}/models/`) };
}

describe('a file', () => {
  test('is read whole or in part, with its ETag, without credentials and compression', async () => {
    const { server, read } = await served();
    const whole = await read('a.bin');
    expect(whole).toMatchObject({ length: 10, etag: '"one"' });
    expect((await bytesOf(whole!.bytes)).toString()).toBe('0123456789');
    const part = await read('a.bin', { start: 2, end: 4 });
    expect(part).toMatchObject({ length: 3, etag: '"one"' });
    expect((await bytesOf(part!.bytes)).toString()).toBe('234');
    const [{ method, headers } = {}] = server.requests;
    expect(method).toBe('GET');
    expect(headers).toMatchObject({ 'accept-encoding': 'identity' });
    expect(Object.keys(headers!).filter((name) => /authorization|cookie|referer/.test(name))).toEqual([]);
  });

  test('without an ETag has its time of change in place of one', async () => {
    const { server, read } = await served();
    const modified = 'Tue, 03 Mar 2026 14:05:00 GMT';
    server.handlers.set('/models/a.bin', (_, response) =>
      response.writeHead(200, { 'Content-Length': 1, 'Last-Modified': modified }).end('x'),
    );
    const found = await read('a.bin');
    expect(found?.etag).toBe(modified);
    await bytesOf(found!.bytes);
  });

  test.each([404, 410])('that is answered with %d does not exist', async (status) => {
    const { server, read } = await served();
    server.handlers.set('/models/a.bin', (_, response) => response.writeHead(status).end());
    expect(await read('a.bin')).toBeNull();
  });

  test.each<[string, number, Record<string, string>, RegExp]>([
    ['a redirect', 302, { Location: 'https://127.0.0.1/secret' }, /redirects are not followed/],
    ['an unchanged redirect', 308, { Location: '/other' }, /redirects are not followed/],
    ['a refusal', 403, {}, /answers 403/],
    ['an error', 500, {}, /answers 500/],
    ['a part that nobody asked for', 206, { 'Content-Length': '0', 'Content-Range': 'bytes 0-0/9' }, /answers 206/],
    ['compressed bytes', 200, { 'Content-Length': '0', 'Content-Encoding': 'gzip' }, /compressed/],
    ['bytes of unknown length', 200, { 'Transfer-Encoding': 'chunked' }, /Content-Length/],
  ])('%s is refused', async (_, status, headers, expected) => {
    const { server, read } = await served();
    server.handlers.set('/models/a.bin', (_, response) => response.writeHead(status, headers).end());
    await expect(read('a.bin')).rejects.toThrow(expected);
    expect(server.requests).toHaveLength(1);
  });

  test('is not read from the middle if the server ignores ranges', async () => {
    const { server, read } = await served();
    server.handlers.set('/models/a.bin', (_, response) =>
      response.writeHead(200, { 'Content-Length': 10 }).end('0123456789'),
    );
    await expect(read('a.bin', { start: 2, end: 4 })).rejects.toThrow(/ignores Range/);
  });

  test('of a server that does not answer is given up', async () => {
    const { server } = await served();
    server.handlers.set('/models/a.bin', () => {});
    const read = open(`https://127.0.0.1:${server.port}/models/`, { answerMs: 50 });
    await expect(read('a.bin')).rejects.toThrow(/did not answer within 50 ms/);
  });

  test('is given up when the reader leaves', async () => {
    const { server, read } = await served();
    const stop = new AbortController();
    server.handlers.set('/models/a.bin', () => stop.abort());
    await expect(read('a.bin', null, stop.signal)).rejects.toThrow(/abort/i);
  });
});

/** Resolves every name to these addresses. */
const resolving = (...addresses: string[]) =>
  ((_name: string, _options: object, callback: (error: null, found: object[]) => void) =>
    callback(
      null,
      addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
    )) as unknown as typeof lookup;

describe('a host that is not public', () => {
  async function refused({ port, connections }: FilesServer, host: string, resolve?: typeof lookup) {
    const read = open(`https://${host}:${port}/models/`, resolve ? { resolve } : {});
    await expect(read('a.bin')).rejects.toMatchObject({ code: 'reference-not-allowed' });
    expect(connections()).toBe(0);
  }

  test('localhost', async () => {
    const { server } = await served();
    await refused(server, 'localhost');
  });

  test.each([
    ['loopback', '127.0.0.1'],
    ['loopback in IPv6', '::1'],
    ['loopback mapped to IPv6', '::ffff:127.0.0.1'],
    ['the metadata of a cloud', '169.254.169.254'],
  ])('a name that resolves to %s', async (_, address) => {
    const { server } = await served();
    await refused(server, 'files.example', resolving(address));
  });

  test('a name that resolves to a public address and to another one', async () => {
    const { server } = await served();
    await refused(server, 'files.example', resolving('93.184.216.34', '127.0.0.1'));
  });

  test('a name that resolves to nothing', async () => {
    const { server } = await served();
    await refused(server, 'files.example', resolving());
  });

  test.each(['../secret', '../../secret', '//127.0.0.1/a', '%2e%2e/secret'])(
    'a key that leads elsewhere: %s',
    async (key) => {
      const { server, read } = await served();
      await read(key).then(
        (found) => expect(found).toBeNull(), // below the prefix, but nothing is there
        (error) => expect(error).toMatchObject({ code: 'reference-not-allowed' }),
      );
      expect(server.requests.every(({ url }) => url!.startsWith('/models/'))).toBe(true);
    },
  );
});
