import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { createClient } from '../../src/client/client.ts';
import { createFetcher } from '../../src/loader/fetch.ts';
import { artifactsOf, emptyProgram, publish, sha256, shared } from '../program/support.ts';
import { type HttpProxy, type Seen, startProxy, to } from './proxy.ts';
import { silent } from './support.ts';

const FILE = 'deep/über model.bin';
const bytes = createHash('sha512').update('seed').digest();
const large = Buffer.concat(Array.from({ length: 20_000 }, () => bytes));
const files = { [FILE]: new Uint8Array(large), empty: '' };
const [artifact, empty] = artifactsOf(files) as [never, never];

const started = shared(async (ends) => {
  const program = await emptyProgram(ends);
  await publish(program, '1.0.0', files);
  return program;
});

async function fetcherThrough(volume?: string) {
  const proxy = await startProxy(started().url);
  const client = createClient({ dsn: proxy.url, token: () => started().token() });
  const fetcher = createFetcher({ client, model: 'default', volume, log: silent });
  return { proxy, fetcher };
}

async function whole(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const all: Uint8Array[] = [];
  for await (const chunk of chunks) all.push(chunk);
  return Buffer.concat(all);
}

const alive = () => new AbortController().signal;
const ranges = ({ requests }: HttpProxy) => requests.map(({ headers }) => headers.range ?? null);
const bytesFrom = (seen: Seen) => Number(/^bytes=(\d+)-$/.exec(seen.headers.range ?? '')?.[1] ?? 0);

describe('a download', () => {
  it('returns the published bytes', async () => {
    const { proxy, fetcher } = await fetcherThrough();
    expect(sha256(await whole(fetcher.bytes('1.0.0', artifact, alive())))).toBe(sha256(large));
    expect(await whole(fetcher.bytes('1.0.0', empty, alive()))).toHaveLength(0);
    expect(await fetcher.manifest('1.0.0', alive())).toContain(sha256(large));
    expect(ranges(proxy)).toEqual([null, null, null]);
  });

  it('resumes where it was cut, as often as necessary', async () => {
    const { proxy, fetcher } = await fetcherThrough();
    const piece = 500_000;
    proxy.tamper = (seen) => (large.length - bytesFrom(seen) > piece ? { cut: piece } : null);
    expect(sha256(await whole(fetcher.bytes('1.0.0', artifact, alive())))).toBe(sha256(large));
    expect(proxy.requests.length).toBeGreaterThanOrEqual(large.length / piece);
    expect(proxy.requests.slice(1).every(({ status }) => status === 206)).toBe(true);
    const starts = proxy.requests.map(bytesFrom);
    expect(starts).toEqual(starts.toSorted((a, b) => a - b));
    expect(starts.slice(1).every((start) => start > 0)).toBe(true);
  });

  it('retries after failed responses', async () => {
    const { proxy, fetcher } = await fetcherThrough();
    const answers = [
      { instead: { status: 502, body: '<html>' } },
      { cut: 100 },
      { instead: { status: 503, body: '' } },
    ];
    proxy.tamper = () => answers.shift();
    expect(sha256(await whole(fetcher.bytes('1.0.0', artifact, alive())))).toBe(sha256(large));
    expect(proxy.requests.map(({ status }) => status)).toEqual([502, 200, 503, 206]);
  });

  it('refuses a response to a range that is not a range', async () => {
    const { proxy, fetcher } = await fetcherThrough();
    const answers = [{ cut: 100 }, { instead: { status: 200, body: 'the whole thing again' } }];
    proxy.tamper = () => answers.shift();
    expect(sha256(await whole(fetcher.bytes('1.0.0', artifact, alive())))).toBe(sha256(large));
    expect(proxy.requests.map(({ status }) => status)).toEqual([200, 200, 206]);
  });

  it('fails after several attempts without progress, and reports the bytes received', async () => {
    const { proxy, fetcher } = await fetcherThrough();
    const answers = [{ cut: 1000 }];
    proxy.tamper = () => answers.shift() ?? { instead: { status: 502, body: '' } };
    await expect(whole(fetcher.bytes('1.0.0', artifact, alive()))).rejects.toMatchObject({
      code: 'fetch-failed',
      message: expect.stringMatching(/: received 1000 of 1280000 bytes$/),
    });
  });

  it('is requested again if the body stalls', async () => {
    const proxy = await startProxy(started().url);
    const client = createClient({ dsn: proxy.url, token: () => started().token() });
    const fetcher = createFetcher({ client, model: 'default', log: silent }, { idleMs: 1_000 });
    const answers = [{ silent: true }];
    proxy.tamper = () => answers.shift();
    expect(sha256(await whole(fetcher.bytes('1.0.0', artifact, alive())))).toBe(sha256(large));
    expect(proxy.requests.length).toBeGreaterThan(1);
  });

  it('is not retried if the registry refuses it', async () => {
    const { proxy, fetcher } = await fetcherThrough();
    const stranger = { ...(artifact as object), path: 'other' } as never;
    await expect(whole(fetcher.bytes('1.0.0', stranger, alive()))).rejects.toMatchObject({ code: 'not-found' });
    await expect(whole(fetcher.bytes('9.0.0', artifact, alive()))).rejects.toMatchObject({ code: 'unknown-version' });
    expect(proxy.requests).toHaveLength(2);
  });

  it('ends when its signal aborts', async () => {
    const { proxy, fetcher } = await fetcherThrough();
    const stop = new AbortController();
    proxy.tamper = to(() => true, { silent: true });
    const fetching = whole(fetcher.bytes('1.0.0', artifact, stop.signal));
    setTimeout(() => stop.abort(new Error('overtaken')), 50);
    await expect(fetching).rejects.toThrow('overtaken');
    expect(proxy.requests).toHaveLength(1);
  });

  it('reads from a mounted volume', async () => {
    const { proxy, fetcher } = await fetcherThrough(started().volume);
    expect(sha256(await whole(fetcher.bytes('1.0.0', artifact, alive())))).toBe(sha256(large));
    expect(proxy.requests).toEqual([]);
    const absent = { ...(artifact as object), digest: sha256('absent') } as never;
    await expect(whole(fetcher.bytes('1.0.0', absent, alive()))).rejects.toThrow('ENOENT');
    fetcher.bytes('1.0.0', absent, alive()); // is not read, opens no file and cannot fail
  });
});
