import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { expect, it } from 'vitest';
import { type HttpProxy, isFile, startProxy, type Tampering, to } from '../loader/proxy.ts';
import { ownModel } from '../loader/support.ts';
import { sha256, shared } from '../program/support.ts';
import { someBytes } from '../support/bytes.ts';
import type { Ends } from '../support/folder.ts';
import { pythonWith } from '../support/python.ts';
import { acceptsRedirect, fromLoader, rangesOf, startRedirecting, statuses } from '../support/redirects.ts';
import { INSTALL_TIMEOUT_MS } from '../support/seaweedfs.ts';

const MIB = 1024 * 1024;
const client = join(import.meta.dirname, '../../clients/python');
/** Above the size from which loaders accept redirects. */
const weights = new Uint8Array(someBytes(17 * MIB));
const right = sha256(weights);

interface Loaded {
  /** The digest of what a loader loaded. */
  loaded: string | null;
  error: string | null;
  /** What it logged. */
  lines: string[];
}

const started = shared(async (ends) => {
  const redirecting = await startRedirecting(ends);
  const { program } = redirecting;
  const model = ownModel(program);
  await model.publish('1.0.0', 'small', { 'weights.bin': weights });
  await model.activate('1.0.0');
  const load = await startPython(ends, { REGISTRY_TOKEN: await program.token(), REGISTRY_MODEL: model.name });
  return { ...redirecting, load };
}, INSTALL_TIMEOUT_MS);

/** Starts a process that loads the version with a new loader for each call, as Python takes long to start. */
async function startPython(ends: Ends, variables: Record<string, string>): Promise<(dsn: string) => Promise<Loaded>> {
  const python = await pythonWith(join(client, 'requirements-dev.txt'));
  const env = { ...process.env, PYTHONDONTWRITEBYTECODE: '1', PYTHONPATH: join(client, 'src'), ...variables };
  const child = spawn(python, [join(import.meta.dirname, 'load.py')], { env, stdio: ['pipe', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  ends(async () => {
    child.stdin.end();
    await exited;
  });
  const answers = createInterface(child.stdout)[Symbol.asyncIterator]();
  return async (dsn) => {
    child.stdin.write(`${dsn}\n`);
    const { value, done } = await answers.next();
    if (done) throw new Error('Python ended');
    return JSON.parse(value) as Loaded;
  };
}

const weightsFile = isFile('weights.bin');

async function load(tampering: { store?: HttpProxy['tamper']; registry?: HttpProxy['tamper'] } = {}) {
  const { load, store, begin } = started();
  const registry = await begin();
  if (tampering.store) store.tamper = tampering.store;
  if (tampering.registry) registry.tamper = tampering.registry;
  const { loaded, error, lines } = await load(registry.url);
  expect(lines.join('\n')).not.toContain('X-Amz');
  const warnings = lines.filter((line) => line.includes('through the registry'));
  return { loaded, error, lines, warnings, store, registry };
}

it('a loader gets large files from the store, without credentials, and others from the registry', async () => {
  const { loaded, lines, store, registry } = await load();
  expect(loaded).toBe(right);
  const [redirected, ...more] = registry.requests.filter(weightsFile);
  expect(redirected).toMatchObject({ status: 307, bytes: 0 });
  expect(more).toEqual([]);
  const [small] = registry.requests.filter(isFile('model.txt'));
  expect(small).toMatchObject({ status: 200, bytes: 5 });
  expect(acceptsRedirect(small!)).toBe(false);
  const [got, ...others] = store.requests.filter(fromLoader);
  expect(others).toEqual([]);
  expect(got).toMatchObject({ method: 'GET', status: 200, bytes: weights.length });
  expect(Object.keys(got!.headers).toSorted()).toEqual([
    'accept',
    'accept-encoding',
    'connection',
    'host',
    'user-agent',
  ]);
  expect(lines.join('\n')).toContain(`HTTP Request: GET ${store.url}/`);
});

it('a cut download is resumed with a new address', async () => {
  const cuts: Tampering[] = [{ cut: 3 * MIB }];
  const { loaded, store, registry, warnings } = await load({
    store: (seen) => (fromLoader(seen) ? cuts.shift() : null),
  });
  expect(loaded).toBe(right);
  expect(statuses(registry, weightsFile)).toEqual([307, 307]);
  expect(statuses(store, fromLoader)).toEqual([200, 206]);
  const [first, second] = rangesOf(store, fromLoader);
  expect([first, second]).toEqual(rangesOf(registry, weightsFile));
  expect([first, second]).toEqual([null, expect.stringMatching(/^bytes=\d+-$/)]);
  expect(warnings).toEqual([]);
});

it('the rest of a cut download comes from the registry if the new address is refused', async () => {
  const answers: Tampering[] = [{ cut: 3 * MIB }, { instead: { status: 403, body: '<Error/>' } }];
  const { loaded, registry } = await load({ store: (seen) => (fromLoader(seen) ? answers.shift() : null) });
  expect(loaded).toBe(right);
  expect(statuses(registry, weightsFile)).toEqual([307, 307, 206]);
});

it.each<[string, Tampering]>([
  ['is refused', { instead: { status: 403, body: '<Error/>' } }],
  ['does not exist', { instead: { status: 404, body: '<Error/>' } }],
  ['fails', { instead: { status: 503, body: '' } }],
  ['gives another page', { instead: { status: 200, body: '<html>Sign in</html>' } }],
  ['is cut before the first byte', { cut: 0 }],
])('an address that %s is tried once, then the registry', async (_, tampering) => {
  const { loaded, store, registry, warnings } = await load({ store: to(fromLoader, tampering) });
  expect(loaded).toBe(right);
  expect(statuses(registry, weightsFile)).toEqual([307, 200]);
  expect(registry.requests.filter(weightsFile).map(acceptsRedirect)).toEqual([true, false]);
  expect(store.requests.filter(fromLoader)).toHaveLength(1);
  expect(warnings).toHaveLength(1);
});

it('an address that redirects again is not followed', async () => {
  const other = await startProxy(null);
  const instead = { status: 307, body: '', location: other.url };
  const { loaded, registry } = await load({ store: to(fromLoader, { instead }) });
  expect(loaded).toBe(right);
  expect(statuses(registry, weightsFile)).toEqual([307, 200]);
  expect(other.requests).toEqual([]);
});

it('an address whose signature the store refuses leads back to the registry', async () => {
  const location = (address: string) => address.replace('X-Amz-Expires=60', 'X-Amz-Expires=61');
  const { loaded, store, registry } = await load({ registry: to(acceptsRedirect, { location }) });
  expect(loaded).toBe(right);
  expect(statuses(store, fromLoader)).toEqual([403]);
  expect(statuses(registry, weightsFile)).toEqual([307, 200]);
});

it('a redirect to a file is not followed', async () => {
  const { loaded, store, registry } = await load({
    registry: to(acceptsRedirect, { location: () => 'file:///etc/passwd' }),
  });
  expect(loaded).toBe(right);
  expect(statuses(registry, weightsFile)).toEqual([307, 200]);
  expect(store.requests.filter(fromLoader)).toEqual([]);
});

it('the registry sends its copy while the store is down', async () => {
  const { store } = started();
  const { loaded, registry } = await load({
    store() {
      store.target = null;
      return null;
    },
  });
  expect(loaded).toBe(right);
  expect(statuses(registry, weightsFile)).toEqual([307, 200]);
});

it('wrong bytes from the address are not used: the registry is asked, and believed no more than that', async () => {
  const alter = (body: Buffer) => body.fill(0, MIB, MIB + 1);
  const first = await load({ store: to(fromLoader, { alter }) });
  expect([first.loaded, first.warnings.length]).toEqual([right, 1]);
  expect(statuses(first.registry, weightsFile)).toEqual([307, 200]);

  const second = await load({
    store: to(fromLoader, { alter }),
    registry: to((seen) => weightsFile(seen) && !acceptsRedirect(seen), { alter }),
  });
  expect([second.loaded, second.error]).toEqual([null, 'digest-mismatch']);
  expect(statuses(second.registry, weightsFile)).toEqual([307, 200]);
});
