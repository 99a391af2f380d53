import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { appendFile, mkdir, readdir, readFile, stat, symlink } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import {
  fetchNatsServer,
  findNatsServer,
  installedNatsServer,
  MINIMUM_NATS,
  PINNED_NATS,
} from '../../../src/log/embedded/binary.ts';
import { temporaryFolder } from '../../support/folder.ts';
import { cleanEnvironment, fakeServer, script } from './helpers.ts';

const VERSION = PINNED_NATS;
const ARCH: Record<string, string> = { x64: 'amd64', arm64: 'arm64' };
const PLATFORM = `${process.platform}-${ARCH[process.arch]}`;
const NAME = `nats-server-v${VERSION}-${PLATFORM}`;

function collect(): { lines: string[]; progress: (line: string) => void } {
  const lines: string[] = [];
  return { lines, progress: (line) => lines.push(line) };
}

/** Serves releases on a local web server. The keys of `files` are paths, such as `v2.15.2/SHA256SUMS`. */
async function releases(files: Record<string, Buffer | string>): Promise<string> {
  const server = createServer((request, response) => {
    const body = files[request.url?.slice(1) ?? ''];
    if (body === undefined) response.writeHead(404).end();
    else response.writeHead(200, { 'content-length': Buffer.byteLength(body) }).end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => new Promise<void>((resolve) => server.close(() => resolve())));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Returns a URL on which nothing listens. (fetch itself refuses low ports.) */
async function nowhere(): Promise<string> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise<void>((resolve) => server.close(() => resolve()));
  return `http://127.0.0.1:${port}`;
}

async function archive(folder: string): Promise<Buffer> {
  await fakeServer(join(folder, NAME, 'nats-server'), VERSION);
  execFileSync('tar', ['-czf', join(folder, 'a.tar.gz'), '-C', folder, NAME]);
  return readFile(join(folder, 'a.tar.gz'));
}

/** Serves a release. `known` replaces the built-in checksum of its archive, `published` the one in its SHA256SUMS. */
async function releaseOf(folder: string, { known, published }: { known?: string; published?: string } = {}) {
  const bytes = await archive(folder);
  const digest = createHash('sha256').update(bytes).digest('hex');
  const sums = `${'0'.repeat(64)}  something-else.zip\n${published ?? digest}  ${NAME}.tar.gz\n`;
  return {
    releases: await releases({ [`v${VERSION}/SHA256SUMS`]: sums, [`v${VERSION}/${NAME}.tar.gz`]: bytes }),
    archives: { 'plan9-amd64': '0'.repeat(64), [PLATFORM]: known ?? digest },
  };
}

const WRONG = 'f'.repeat(64);

/** Writes a `go` that logs its calls and "installs" a server into GOBIN. */
async function fakeGo(folder: string): Promise<{ bin: string; calls: () => Promise<string> }> {
  const log = join(folder, 'go-calls');
  const server = await fakeServer(join(folder, 'built'), VERSION);
  await script(join(folder, 'bin', 'go'), `echo "$@ sumdb=$GOSUMDB" >> ${log}\ncp ${server} "$GOBIN/nats-server"`);
  return { bin: join(folder, 'bin'), calls: () => readFile(log, 'utf8').catch(() => '') };
}

/** Returns a PATH with only the programs that unpack an archive. */
async function pathWithoutGo(folder: string): Promise<string> {
  const bin = join(folder, 'no-go');
  await mkdir(bin);
  for (const name of ['tar', 'gzip']) {
    const path = ['/usr/bin', '/bin'].map((place) => join(place, name)).find(existsSync);
    if (path) await symlink(path, join(bin, name));
  }
  return bin;
}

/** Returns the temporary folders in the cache; a fetch must leave none behind. */
async function leftovers(cache: string): Promise<string[]> {
  return (await readdir(join(cache, 'signalbox'))).filter((name) => name.startsWith('.'));
}

describe('finding nats-server', () => {
  test('uses NATS_SERVER_BIN', async () => {
    const folder = await temporaryFolder();
    const path = await fakeServer(join(folder, 'my-nats'), MINIMUM_NATS);
    const env = { ...cleanEnvironment(folder), NATS_SERVER_BIN: path };
    expect(await findNatsServer({ env, ...collect() })).toEqual({ path, version: MINIMUM_NATS });
  });

  test('refuses a NATS_SERVER_BIN that is too old, and names both versions', async () => {
    const folder = await temporaryFolder();
    const path = await fakeServer(join(folder, 'my-nats'), '2.10.22');
    const found = findNatsServer({ env: { ...cleanEnvironment(folder), NATS_SERVER_BIN: path }, ...collect() });
    await expect(found).rejects.toThrow(/2\.10\.22.*2\.10\.23 or newer/);
  });

  test.each(['/nowhere/nats-server', '/bin/true'])(
    'refuses a NATS_SERVER_BIN that is not a nats-server: %s',
    async (path) => {
      const folder = await temporaryFolder();
      const found = findNatsServer({ env: { ...cleanEnvironment(folder), NATS_SERVER_BIN: path }, ...collect() });
      await expect(found).rejects.toThrow(/NATS_SERVER_BIN/);
    },
  );

  test('uses the one on PATH', async () => {
    const folder = await temporaryFolder();
    const path = await fakeServer(join(folder, 'bin', 'nats-server'), '2.12.1');
    const env = cleanEnvironment(folder, join(folder, 'bin'));
    expect(await findNatsServer({ env, ...collect() })).toEqual({ path, version: '2.12.1' });
  });

  test('reports one on PATH that is too old, and uses the one in the cache', async () => {
    const folder = await temporaryFolder();
    const old = await fakeServer(join(folder, 'bin', 'nats-server'), '2.9.10');
    const cached = await fakeServer(
      join(folder, 'signalbox', `nats-server-v${PINNED_NATS}`, 'nats-server'),
      PINNED_NATS,
    );
    const { lines, progress } = collect();
    const found = await findNatsServer({ env: cleanEnvironment(folder, join(folder, 'bin')), progress });
    expect(found).toEqual({ path: cached, version: PINNED_NATS });
    expect(lines).toEqual([
      expect.stringMatching(new RegExp(`${old} is nats-server 2.9.10; Signalbox needs 2.10.23 or newer`)),
    ]);
  });
});

describe('fetching nats-server', () => {
  test('downloads the release archive if it has the built-in checksum', async () => {
    const folder = await temporaryFolder();
    const { bin, calls } = await fakeGo(folder);
    const { lines, progress } = collect();
    const options = {
      version: VERSION,
      ...(await releaseOf(folder, { published: WRONG })),
      env: cleanEnvironment(folder, bin),
      progress,
    };
    const found = await fetchNatsServer(options);
    expect(found).toEqual({
      path: join(folder, 'signalbox', `nats-server-v${VERSION}`, 'nats-server'),
      version: VERSION,
    });
    expect((await stat(found.path)).mode & 0o777).toBe(0o755);
    expect(await findNatsServer({ env: cleanEnvironment(folder), progress })).toEqual(found);
    expect(await calls()).toBe('');
    expect(lines.join('\n')).toMatch(/100 %/);
    expect(await leftovers(folder)).toEqual([]);
  });

  test('refuses an archive with another checksum than the built-in one, unpacks nothing and does not try Go', async () => {
    const folder = await temporaryFolder();
    const { bin, calls } = await fakeGo(folder);
    const release = await releaseOf(folder, { known: WRONG });
    const env = cleanEnvironment(folder, bin);
    const fetched = fetchNatsServer({ version: VERSION, ...release, env, ...collect() });
    await expect(fetched).rejects.toThrow(/has the wrong checksum/);
    expect(await calls()).toBe('');
    expect(existsSync(join(folder, 'signalbox', `nats-server-v${VERSION}`))).toBe(false);
    expect(await leftovers(folder)).toEqual([]);
  });

  test('verifies the archive against the release itself and reports it, if there is neither a built-in checksum nor Go', async () => {
    const folder = await temporaryFolder();
    const { releases } = await releaseOf(folder);
    const env = { ...cleanEnvironment(folder), PATH: await pathWithoutGo(folder) };
    const { lines, progress } = collect();
    expect((await fetchNatsServer({ version: VERSION, releases, archives: {}, env, progress })).version).toBe(VERSION);
    expect(lines.join('\n')).toMatch(/no built-in checksum .* verifying it against .*SHA256SUMS only/);
    const wrong = await releaseOf(folder, { published: WRONG });
    const refused = fetchNatsServer({ version: VERSION, ...wrong, archives: {}, env, progress });
    await expect(refused).rejects.toThrow(/has the wrong checksum/);
  });

  test.each([
    ['the host does not respond', async () => ({ releases: await nowhere(), archives: { [PLATFORM]: WRONG } })],
    ['the release does not exist', async () => ({ releases: await releases({}), archives: { [PLATFORM]: WRONG } })],
    [
      'there is no built-in checksum for this platform',
      async (folder: string) => ({ ...(await releaseOf(folder)), archives: {} }),
    ],
  ])('builds with Go if %s', async (_, release) => {
    const folder = await temporaryFolder();
    const { bin, calls } = await fakeGo(folder);
    const env = { ...cleanEnvironment(folder, bin), GOSUMDB: 'off' };
    const { lines, progress } = collect();
    const options = { version: VERSION, ...(await release(folder)), env, progress };
    expect((await fetchNatsServer(options)).version).toBe(VERSION);
    expect(await calls()).toBe(`install github.com/nats-io/nats-server/v2@v${VERSION} sumdb=sum.golang.org\n`);
    expect(lines.join('\n')).not.toContain('downloading');
  });

  test('does not run a copy that was altered, and fetches it again', async () => {
    const folder = await temporaryFolder();
    const { bin } = await fakeGo(folder);
    const env = cleanEnvironment(folder, bin);
    const options = { version: VERSION, releases: await nowhere(), env, ...collect() };
    const { path } = await fetchNatsServer(options);
    expect(await installedNatsServer({ env, ...collect() })).toEqual({ path, version: VERSION });
    await appendFile(path, `touch ${join(folder, 'was-run')}\n`);
    const { lines, progress } = collect();
    expect(await installedNatsServer({ env, progress })).toBeNull();
    expect(lines).toEqual([expect.stringMatching(/was altered: its SHA-256 is/)]);
    expect(existsSync(join(folder, 'was-run'))).toBe(false);
    await fetchNatsServer(options);
    expect(await installedNatsServer({ env, ...collect() })).toEqual({ path, version: VERSION });
  });

  test('writes the checksum of a copy that has none, and verifies it from then on', async () => {
    const folder = await temporaryFolder();
    const env = cleanEnvironment(folder);
    const path = await fakeServer(join(folder, 'signalbox', `nats-server-v${VERSION}`, 'nats-server'), VERSION);
    expect(await installedNatsServer({ env, ...collect() })).toEqual({ path, version: VERSION });
    await appendFile(path, '# one more line\n');
    expect(await installedNatsServer({ env, ...collect() })).toBeNull();
  });

  test('explains how to install nats-server if neither download nor build works', async () => {
    const folder = await temporaryFolder();
    const env = { ...cleanEnvironment(folder), PATH: join(folder, 'empty') };
    const archives = { [PLATFORM]: WRONG };
    const fetched = fetchNatsServer({ version: VERSION, releases: await nowhere(), archives, env, ...collect() });
    await expect(fetched).rejects.toThrow(/ECONNREFUSED[\s\S]*go install[\s\S]*NATS_SERVER_BIN[\s\S]*NATS_URL/);
  });

  test('two concurrent fetches both succeed', async () => {
    const folder = await temporaryFolder();
    const release = await releaseOf(folder);
    const options = { version: VERSION, env: cleanEnvironment(folder), ...release, ...collect() };
    const [one, two] = await Promise.all([fetchNatsServer(options), fetchNatsServer(options)]);
    expect(one).toEqual(two);
    expect(await leftovers(folder)).toEqual([]);
  });
});
