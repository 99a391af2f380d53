import { expect, it } from 'vitest';
import { createClient } from '../../src/client/client.ts';
import type { Artifact } from '../../src/domain/manifest.ts';
import { readAddress } from '../../src/loader/address.ts';
import { createFetcher } from '../../src/loader/fetch.ts';
import type { LoaderLog } from '../../src/loader/log.ts';
import { artifactsOf, publish, shared } from '../program/support.ts';
import { bytesOf, someBytes } from '../support/bytes.ts';
import { acceptsRedirect, fromLoader, rangesOf, startRedirecting, statuses } from '../support/redirects.ts';
import { INSTALL_TIMEOUT_MS } from '../support/seaweedfs.ts';
import { isFile, startProxy, type Tampering, to } from './proxy.ts';
import { failsAt, follow, ownModel, serves, silent } from './support.ts';

const MIB = 1024 * 1024;
const FILE = 'deep/model.bin';
const bytes = new Uint8Array(someBytes(MIB));
const [artifact] = artifactsOf({ [FILE]: bytes }) as [Artifact];
/** Above the size from which loaders accept redirects. */
const weights = new Uint8Array(someBytes(17 * MIB));

const started = shared(async (ends) => {
  const redirecting = await startRedirecting(ends);
  await publish(redirecting.program, '1.0.0', { [FILE]: bytes });
  return redirecting;
}, INSTALL_TIMEOUT_MS);

async function proxies() {
  const { program, store, begin } = started();
  const registry = Object.assign(await begin(), { token: () => program.token() });
  return { program, store, registry };
}

async function download() {
  const { program, store, registry } = await proxies();
  const warnings: object[] = [];
  const log = { ...silent, warn: (...line: unknown[]) => void warnings.push(line) };
  const client = createClient({ dsn: registry.url, token: () => program.token() });
  const fetcher = createFetcher({ client, model: 'default', log }, { redirectedBytes: MIB, idleMs: 1_000 });
  const read = () => bytesOf(fetcher.bytes('1.0.0', artifact, new AbortController().signal));
  return { store, registry, read, warnings };
}

it('a loader gets large files from the store, without credentials, and others from the registry', async () => {
  const { program, store, registry } = await proxies();
  const lines: unknown[] = [];
  const record = (...line: unknown[]) => void lines.push(line);
  const log: LoaderLog = { debug: record, info: record, warn: record, error: record };
  const model = ownModel(program);
  await model.publish('1.0.0', 'small', { 'weights.bin': weights });
  await model.activate('1.0.0');
  const loader = await follow(registry, { model: model.name, log });
  await serves(loader, '1.0.0');

  const [redirected, ...more] = registry.requests.filter(isFile('weights.bin'));
  expect(redirected).toMatchObject({ status: 307, bytes: 0 });
  expect(more).toEqual([]);
  const [small] = registry.requests.filter(isFile('model.txt'));
  expect(small).toMatchObject({ status: 200, bytes: 5 });
  expect(small!.headers).not.toHaveProperty('signalbox-redirect');
  const [got, ...others] = store.requests.filter(fromLoader);
  expect(others).toEqual([]);
  expect(got).toMatchObject({ method: 'GET', status: 200, bytes: weights.length });
  expect(Object.keys(got!.headers).toSorted()).toEqual(
    ['accept', 'accept-encoding', 'accept-language', 'connection', 'host', 'sec-fetch-mode', 'user-agent'].toSorted(),
  );
  const metrics = await (await program.ask('GET', '/metrics')).text();
  expect(metrics).toMatch(/^signalbox_http_requests_total\{.*files.*status="307"\} [1-9]/m);
  expect(JSON.stringify([lines, program.lines])).not.toContain('X-Amz');
});

it('wrong bytes from the address are not used: the registry is asked, and believed no more than that', async () => {
  const { program, store, registry } = await proxies();
  const flip = (body: Buffer) => body.fill(0, MIB, MIB + 1);
  store.tamper = to(fromLoader, { alter: flip });
  const model = ownModel(program);
  await model.publish('1.0.0', 'right', { 'weights.bin': weights });
  await model.activate('1.0.0');
  const loader = await follow(registry, { model: model.name });
  await serves(loader, '1.0.0');
  expect(statuses(registry, isFile('weights.bin'))).toEqual([307, 200]);

  registry.tamper = to((seen) => isFile('weights.bin')(seen) && !acceptsRedirect(seen), { alter: flip });
  const doubtful = await follow(registry, { model: model.name });
  await failsAt(doubtful, '1.0.0', 'digest-mismatch');
  expect(statuses(registry, isFile('weights.bin'))).toEqual([307, 200, 307, 200]);
});

it('a cut download is resumed with a new address', async () => {
  const { store, registry, read, warnings } = await download();
  const answers: Tampering[] = [{ cut: 300_000 }];
  store.tamper = (seen) => (fromLoader(seen) ? answers.shift() : null);
  expect((await read()).equals(bytes)).toBe(true);
  expect(statuses(registry)).toEqual([307, 307]);
  expect(statuses(store, fromLoader)).toEqual([200, 206]);
  const ranges = [null, 'bytes=300000-'];
  expect([rangesOf(registry), rangesOf(store, fromLoader)]).toEqual([ranges, ranges]);
  expect(warnings).toEqual([]);
});

it('the rest of a cut download comes from the registry if the new address is refused', async () => {
  const { store, registry, read } = await download();
  const answers: Tampering[] = [{ cut: 300_000 }, { instead: { status: 403, body: '<Error/>' } }];
  store.tamper = (seen) => (fromLoader(seen) ? answers.shift() : null);
  expect((await read()).equals(bytes)).toBe(true);
  expect(statuses(registry)).toEqual([307, 307, 206]);
  expect(registry.requests.map(acceptsRedirect)).toEqual([true, true, false]);
});

it.each<[string, Tampering]>([
  ['is refused', { instead: { status: 403, body: '<Error/>' } }],
  ['does not exist', { instead: { status: 404, body: '<Error/>' } }],
  ['fails', { instead: { status: 500, body: '<Error/>' } }],
  ['is unavailable', { instead: { status: 503, body: '' } }],
  ['gives another page', { instead: { status: 200, body: '<html>Sign in</html>' } }],
  ['is cut before the first byte', { cut: 0 }],
  ['sends nothing', { silent: true }],
])('an address that %s is tried once, then the registry', async (_, tampering) => {
  const { store, registry, read, warnings } = await download();
  store.tamper = to(fromLoader, tampering);
  expect((await read()).equals(bytes)).toBe(true);
  expect(statuses(registry)).toEqual([307, 200]);
  expect(registry.requests.map(acceptsRedirect)).toEqual([true, false]);
  expect(store.requests.filter(fromLoader)).toHaveLength(1);
  expect(warnings).toHaveLength(1);
  expect(JSON.stringify(warnings)).not.toContain('X-Amz');
});

it('the registry is tried after an address also when it failed often before', async () => {
  const { store, registry, read } = await download();
  store.tamper = to(fromLoader, { instead: { status: 403, body: '<Error/>' } });
  const failures: Tampering[] = Array.from({ length: 3 }, () => ({ instead: { status: 502, body: '' } }));
  registry.tamper = () => failures.shift();
  expect((await read()).equals(bytes)).toBe(true);
  expect(statuses(registry)).toEqual([502, 502, 502, 307, 200]);
});

it('an address that redirects again is not followed', async () => {
  const { store, registry, read } = await download();
  const other = await startProxy(null);
  store.tamper = to(fromLoader, { instead: { status: 307, body: '', location: other.url } });
  expect((await read()).equals(bytes)).toBe(true);
  expect(statuses(registry)).toEqual([307, 200]);
  expect(other.requests).toEqual([]);
});

it('an address whose signature the store refuses leads back to the registry', async () => {
  const { store, registry, read } = await download();
  registry.tamper = to(acceptsRedirect, {
    location: (address) => address.replace('X-Amz-Expires=60', 'X-Amz-Expires=61'),
  });
  expect((await read()).equals(bytes)).toBe(true);
  expect(statuses(store, fromLoader)).toEqual([403]);
  expect(statuses(registry)).toEqual([307, 200]);
});

it('the registry sends its copy while the store is down', async () => {
  const { store, registry, read } = await download();
  store.target = null;
  expect((await read()).equals(bytes)).toBe(true);
  expect(statuses(registry)).toEqual([307, 200]);
});

it.each<[string, (address: string) => string]>([
  ['a file', () => 'file:///etc/passwd'],
  ['another scheme', (address) => address.replace('http:', 'ftp:')],
  ['data', () => `data:application/octet-stream;base64,${Buffer.from(bytes).toString('base64').slice(0, 1000)}`],
  ['an address with a password', (address) => address.replace('http://', 'http://ana:secret@')],
  ['no address', () => 'http://'],
])('a redirect to %s is not followed', async (_, location) => {
  const { store, registry, read, warnings } = await download();
  registry.tamper = to(acceptsRedirect, { location });
  expect((await read()).equals(bytes)).toBe(true);
  expect(statuses(registry)).toEqual([307, 200]);
  expect(store.requests.filter(fromLoader)).toEqual([]);
  expect(JSON.stringify(warnings)).toContain('not http:// or https://');
});

it('a redirect that leaves TLS is not followed', async () => {
  const { url } = await startProxy(null);
  const headers = new Headers({ location: url });
  const redirect = { url: 'https://registry.example/file', headers, body: null } as Response;
  const reading = bytesOf(readAddress(redirect, { from: 0, size: 1 }, new AbortController().signal));
  await expect(reading).rejects.toThrow(/has no TLS/);
});
