import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { fetchNatsServer, findNatsServer, MINIMUM_NATS, PINNED_NATS } from '../../src/log/embedded/binary.ts';
import { cleanEnvironment, fakeServer, script, temporaryFolder } from './helpers.ts';

const VERSION = '2.15.2';
const ARCH: Record<string, string> = { x64: 'amd64', arm64: 'arm64' };
const NAME = `nats-server-v${VERSION}-${process.platform}-${ARCH[process.arch]}`;

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

async function releaseOf(folder: string, sum?: string): Promise<string> {
  const bytes = await archive(folder);
  const digest = sum ?? createHash('sha256').update(bytes).digest('hex');
  const sums = `${'0'.repeat(64)}  something-else.zip\n${digest}  ${NAME}.tar.gz\n`;
  return releases({ [`v${VERSION}/SHA256SUMS`]: sums, [`v${VERSION}/${NAME}.tar.gz`]: bytes });
}

/** A `go` that leaves a mark and "installs" a server where GOBIN says. */
async function fakeGo(folder: string): Promise<{ bin: string; asked: () => Promise<string> }> {
  const mark = join(folder, 'go-was-asked');
  const server = await fakeServer(join(folder, 'built'), VERSION);
  await script(join(folder, 'bin', 'go'), `echo "$@ sumdb=$GOSUMDB" >> ${mark}\ncp ${server} "$GOBIN/nats-server"`);
  return { bin: join(folder, 'bin'), asked: () => readFile(mark, 'utf8').catch(() => '') };
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
  test('takes the release archive when its checksum is right', async () => {
    const folder = await temporaryFolder();
    const { bin, asked } = await fakeGo(folder);
    const { lines, progress } = collect();
    const options = {
      version: VERSION,
      releases: await releaseOf(folder),
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

  test('refuses a wrong checksum: nothing is unpacked and no other way is tried', async () => {
    const folder = await temporaryFolder();
    const { bin, asked } = await fakeGo(folder);
    const base = await releaseOf(folder, 'f'.repeat(64));
    const env = cleanEnvironment(folder, bin);
    const fetched = fetchNatsServer({ version: VERSION, releases: base, env, ...collect() });
    await expect(fetched).rejects.toThrow(/does not have the checksum/);
    expect(await asked()).toBe('');
    expect(existsSync(join(folder, 'signalbox', `nats-server-v${VERSION}`))).toBe(false);
    expect(await leftovers(folder)).toEqual([]);
  });

  test.each([
    ['nobody answers', nowhere],
    ['there is no such release', async () => releases({})],
    ['the release has no archive for this system', async () => releases({ [`v${VERSION}/SHA256SUMS`]: '' })],
  ])('asks Go when %s', async (_, base) => {
    const folder = await temporaryFolder();
    const { bin, asked } = await fakeGo(folder);
    const env = { ...cleanEnvironment(folder, bin), GOSUMDB: 'off' };
    const found = await fetchNatsServer({ version: VERSION, releases: await base(), env, ...collect() });
    expect(found.version).toBe(VERSION);
    expect(await asked()).toBe(`install github.com/nats-io/nats-server/v2@v${VERSION} sumdb=sum.golang.org\n`);
  });

  test('says how to install it when neither way is open', async () => {
    const folder = await temporaryFolder();
    const env = { ...cleanEnvironment(folder), PATH: join(folder, 'empty') };
    const fetched = fetchNatsServer({ version: VERSION, releases: await nowhere(), env, ...collect() });
    await expect(fetched).rejects.toThrow(/ECONNREFUSED[\s\S]*go install[\s\S]*NATS_SERVER_BIN[\s\S]*NATS_URL/);
  });

  test('two at once both end well', async () => {
    const folder = await temporaryFolder();
    const base = await releaseOf(folder);
    const options = { version: VERSION, env: cleanEnvironment(folder), releases: base, ...collect() };
    const [one, two] = await Promise.all([fetchNatsServer(options), fetchNatsServer(options)]);
    expect(one).toEqual(two);
    expect(await leftovers(folder)).toEqual([]);
  });
});
