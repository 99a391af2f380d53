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
import { cleanEnvironment, fakeServer, script, temporaryFolder } from './helpers.ts';

const VERSION = PINNED_NATS;
const ARCH: Record<string, string> = { x64: 'amd64', arm64: 'arm64' };
const PLATFORM = `${process.platform}-${ARCH[process.arch]}`;
const NAME = `nats-server-v${VERSION}-${PLATFORM}`;

function collect(): { lines: string[]; progress: (line: string) => void } {
  const lines: string[] = [];
  return { lines, progress: (line) => lines.push(line) };
}

/** A folder of releases on a local web server. `files` are by their path, such as `v2.15.2/SHA256SUMS`. */
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

/** Where nobody listens. (fetch refuses low ports by itself.) */
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

/** A release whose archive has the hash that is known of it, or not; its own SHA256SUMS say `published`. */
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

/** A `go` that leaves a mark and "installs" a server where GOBIN says. */
async function fakeGo(folder: string): Promise<{ bin: string; asked: () => Promise<string> }> {
  const mark = join(folder, 'go-was-asked');
  const server = await fakeServer(join(folder, 'built'), VERSION);
  await script(join(folder, 'bin', 'go'), `echo "$@ sumdb=$GOSUMDB" >> ${mark}\ncp ${server} "$GOBIN/nats-server"`);
  return { bin: join(folder, 'bin'), asked: () => readFile(mark, 'utf8').catch(() => '') };
}

/** A PATH with what unpacks an archive, and nothing else. */
async function withoutGo(folder: string): Promise<string> {
  const bin = join(folder, 'no-go');
  await mkdir(bin);
  for (const name of ['tar', 'gzip']) {
    const path = ['/usr/bin', '/bin'].map((place) => join(place, name)).find(existsSync);
    if (path) await symlink(path, join(bin, name));
  }
  return bin;
}

/** What a fetch must not leave behind: half-done work. */
async function leftovers(cache: string): Promise<string[]> {
  return (await readdir(join(cache, 'signalbox'))).filter((name) => name.startsWith('.'));
}

describe('finding', () => {
  test('NATS_SERVER_BIN is taken', async () => {
    const folder = await temporaryFolder();
    const path = await fakeServer(join(folder, 'my-nats'), MINIMUM_NATS);
    const env = { ...cleanEnvironment(folder), NATS_SERVER_BIN: path };
    expect(await findNatsServer({ env, ...collect() })).toEqual({ path, version: MINIMUM_NATS });
  });

  test('a NATS_SERVER_BIN that is too old is refused, naming both versions', async () => {
    const folder = await temporaryFolder();
    const path = await fakeServer(join(folder, 'my-nats'), '2.10.22');
    const found = findNatsServer({ env: { ...cleanEnvironment(folder), NATS_SERVER_BIN: path }, ...collect() });
    await expect(found).rejects.toThrow(/2\.10\.22.*2\.10\.23 or newer/);
  });

  test.each(['/nowhere/nats-server', '/bin/true'])(
    'a NATS_SERVER_BIN that is no nats-server is refused: %s',
    async (path) => {
      const folder = await temporaryFolder();
      const found = findNatsServer({ env: { ...cleanEnvironment(folder), NATS_SERVER_BIN: path }, ...collect() });
      await expect(found).rejects.toThrow(/NATS_SERVER_BIN/);
    },
  );

  test('one on PATH is taken', async () => {
    const folder = await temporaryFolder();
    const path = await fakeServer(join(folder, 'bin', 'nats-server'), '2.12.1');
    const env = cleanEnvironment(folder, join(folder, 'bin'));
    expect(await findNatsServer({ env, ...collect() })).toEqual({ path, version: '2.12.1' });
  });

  test('one on PATH that is too old is named, and the one in the cache is taken', async () => {
    const folder = await temporaryFolder();
    const old = await fakeServer(join(folder, 'bin', 'nats-server'), '2.9.10');
    const cached = await fakeServer(
      join(folder, 'signalbox', `nats-server-v${PINNED_NATS}`, 'nats-server'),
      PINNED_NATS,
    );
    const { lines, progress } = collect();
    const found = await findNatsServer({ env: cleanEnvironment(folder, join(folder, 'bin')), progress });
    expect(found).toEqual({ path: cached, version: PINNED_NATS });
    expect(lines).toEqual([expect.stringMatching(new RegExp(`${old} is nats-server 2.9.10; 2.10.23 or newer`))]);
  });
});

describe('fetching', () => {
  test('takes the release archive when its checksum is the one that is known', async () => {
    const folder = await temporaryFolder();
    const { bin, asked } = await fakeGo(folder);
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
    expect(await asked()).toBe('');
    expect(lines.join('\n')).toMatch(/100 %/);
    expect(await leftovers(folder)).toEqual([]);
  });

  test('refuses an archive with another checksum, whatever its release says: nothing is unpacked and no other way is tried', async () => {
    const folder = await temporaryFolder();
    const { bin, asked } = await fakeGo(folder);
    const release = await releaseOf(folder, { known: WRONG });
    const env = cleanEnvironment(folder, bin);
    const fetched = fetchNatsServer({ version: VERSION, ...release, env, ...collect() });
    await expect(fetched).rejects.toThrow(/does not have the checksum/);
    expect(await asked()).toBe('');
    expect(existsSync(join(folder, 'signalbox', `nats-server-v${VERSION}`))).toBe(false);
    expect(await leftovers(folder)).toEqual([]);
  });

  test('without a known checksum, and without Go, goes by the one that the release publishes, and says so', async () => {
    const folder = await temporaryFolder();
    const { releases } = await releaseOf(folder);
    const env = { ...cleanEnvironment(folder), PATH: await withoutGo(folder) };
    const { lines, progress } = collect();
    expect((await fetchNatsServer({ version: VERSION, releases, archives: {}, env, progress })).version).toBe(VERSION);
    expect(lines.join('\n')).toMatch(/is not known here: the archive is checked against .*SHA256SUMS only/);
    const wrong = await releaseOf(folder, { published: WRONG });
    const refused = fetchNatsServer({ version: VERSION, ...wrong, archives: {}, env, progress });
    await expect(refused).rejects.toThrow(/does not have the checksum/);
  });

  test.each([
    ['nobody answers', async () => ({ releases: await nowhere(), archives: { [PLATFORM]: WRONG } })],
    ['there is no such release', async () => ({ releases: await releases({}), archives: { [PLATFORM]: WRONG } })],
    [
      'no checksum is known for this system',
      async (folder: string) => ({ ...(await releaseOf(folder)), archives: {} }),
    ],
  ])('asks Go when %s', async (_, release) => {
    const folder = await temporaryFolder();
    const { bin, asked } = await fakeGo(folder);
    const env = { ...cleanEnvironment(folder, bin), GOSUMDB: 'off' };
    const { lines, progress } = collect();
    const options = { version: VERSION, ...(await release(folder)), env, progress };
    expect((await fetchNatsServer(options)).version).toBe(VERSION);
    expect(await asked()).toBe(`install github.com/nats-io/nats-server/v2@v${VERSION} sumdb=sum.golang.org\n`);
    expect(lines.join('\n')).not.toContain('downloading');
  });

  test('does not run a copy that was altered: it is fetched again', async () => {
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

  test('records a copy from before there were records, and holds it to that', async () => {
    const folder = await temporaryFolder();
    const env = cleanEnvironment(folder);
    const path = await fakeServer(join(folder, 'signalbox', `nats-server-v${VERSION}`, 'nats-server'), VERSION);
    expect(await installedNatsServer({ env, ...collect() })).toEqual({ path, version: VERSION });
    await appendFile(path, '# one more line\n');
    expect(await installedNatsServer({ env, ...collect() })).toBeNull();
  });

  test('says how to install it when neither way is open', async () => {
    const folder = await temporaryFolder();
    const env = { ...cleanEnvironment(folder), PATH: join(folder, 'empty') };
    const archives = { [PLATFORM]: WRONG };
    const fetched = fetchNatsServer({ version: VERSION, releases: await nowhere(), archives, env, ...collect() });
    await expect(fetched).rejects.toThrow(/ECONNREFUSED[\s\S]*go install[\s\S]*NATS_SERVER_BIN[\s\S]*NATS_URL/);
  });

  test('two at once both end well', async () => {
    const folder = await temporaryFolder();
    const release = await releaseOf(folder);
    const options = { version: VERSION, env: cleanEnvironment(folder), ...release, ...collect() };
    const [one, two] = await Promise.all([fetchNatsServer(options), fetchNatsServer(options)]);
    expect(one).toEqual(two);
    expect(await leftovers(folder)).toEqual([]);
  });
});
