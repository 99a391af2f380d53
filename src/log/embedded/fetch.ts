import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmod, mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { userCacheFolder } from '../../files/cache-folder.ts';
import { PINNED_ARCHIVES, PINNED_NATS } from './archives.ts';
import { checksumPath, writeChecksum } from './checksum.ts';

const RELEASES = 'https://github.com/nats-io/nats-server/releases/download';
const MODULE = 'github.com/nats-io/nats-server/v2';
const SUMS_TIMEOUT_MS = 30_000;
// For about 8 MB. Node's fetch itself ends a connection that receives nothing for 5 minutes.
const ARCHIVE_TIMEOUT_MS = 15 * 60_000;
// With an empty module cache, `go install` takes minutes on 2 cores and a quarter of an hour on a single-board computer.
const BUILD_TIMEOUT_MS = 30 * 60_000;
const PLATFORM = `${process.platform}-${process.arch === 'x64' ? 'amd64' : process.arch}`;
const PROGRESS_EVERY_MS = 2_000;
const MB = 1_000_000;

export interface NatsBinary {
  /** Path of the program. */
  path: string;
  /** Without a leading `v`. */
  version: string;
}

interface FetchOptions {
  /** Without a leading `v`. */
  version: string;
  /** Base URL of the releases: `<releases>/v<version>/SHA256SUMS`. */
  releases?: string;
  /** SHA-256 of that version's archives, by platform; default: `PINNED_ARCHIVES` for the pinned version. */
  archives?: Record<string, string>;
  env?: NodeJS.ProcessEnv;
  progress: (line: string) => void;
}

type Job = Required<FetchOptions> & { folder: string };

class WrongChecksum extends Error {}

/**
 * Fetches nats-server into the user's cache folder, either as a release archive or with `go install`. If `archives` has the
 * checksum of the archive, the archive is tried first. Otherwise Go is tried first, and the archive is verified against
 * the release's own SHA256SUMS. If a checksum does not match, the fetch fails and nothing else is tried.
 *
 * The checksum of the program is written beside it. Two processes may fetch at the same time: the second replaces the
 * program with the same one.
 */
export async function fetchNatsServer(options: FetchOptions): Promise<NatsBinary> {
  const { version, env = process.env, releases = RELEASES, progress } = options;
  const archives = options.archives ?? (version === PINNED_NATS ? PINNED_ARCHIVES : {});
  const path = cachedPath(userCacheFolder(env), version);
  progress(`fetching nats-server ${version}`);
  const folder = await makeWorkFolder(dirname(dirname(path))).catch((cause: Error) => {
    throw notFetched(version, [cause.message]);
  });
  try {
    const methods = archives[PLATFORM] ? [fromRelease, fromGo] : [fromGo, fromRelease];
    const program = await firstThatWorks(methods, { version, releases, archives, env, progress, folder });
    await chmod(program, 0o755);
    const checksum = await writeChecksum(program);
    await mkdir(dirname(path), { recursive: true });
    // If a crash or another process comes between these two, the checksum does not match: the program is fetched again.
    await rename(program, path);
    await rename(checksum, checksumPath(path));
    progress(`nats-server ${version} is now at ${path}`);
    return { path, version };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

export function cachedPath(cacheFolder: string, version: string): string {
  return join(cacheFolder, 'signalbox', `nats-server-v${version}`, 'nats-server');
}

/** Creates a folder beside the destination, so that a rename can publish the program: it is never visible half-written. */
async function makeWorkFolder(parent: string): Promise<string> {
  await mkdir(parent, { recursive: true });
  return mkdtemp(join(parent, '.fetch-'));
}

async function firstThatWorks(methods: ((job: Job) => Promise<string>)[], job: Job): Promise<string> {
  const reasons: string[] = [];
  for (const method of methods) {
    try {
      return await method(job);
    } catch (error) {
      if (error instanceof WrongChecksum) throw error;
      const { message } = error as Error;
      job.progress(message);
      reasons.push(message);
    }
  }
  throw notFetched(job.version, reasons);
}

async function fromRelease(job: Job): Promise<string> {
  const { version, releases, archives, folder, progress } = job;
  const name = `nats-server-v${version}-${PLATFORM}`;
  const release = `${releases}/v${version}`;
  const expected = archives[PLATFORM] ?? (await publishedHash(release, `${name}.tar.gz`, progress));
  const archive = join(folder, `${name}.tar.gz`);
  await writeFile(archive, await downloadVerified(`${release}/${name}.tar.gz`, expected, progress));
  const program = join(name, 'nats-server');
  await run('tar', ['-xzf', archive, '-C', folder, program]);
  return join(folder, program);
}

/** Reads the checksum of an archive from its release. A platform without an archive is not listed there. */
async function publishedHash(release: string, file: string, progress: Job['progress']): Promise<string> {
  const sums = await download(`${release}/SHA256SUMS`, SUMS_TIMEOUT_MS, () => undefined);
  const lines = sums.toString('utf8').split('\n');
  const [hash] = lines.map((line) => line.split(/\s+\*?/)).find(([, name]) => name === file) ?? [];
  if (!hash) throw new Error(`${release}/SHA256SUMS does not list ${file}`);
  progress(`no built-in checksum for ${file}: verifying it against ${release}/SHA256SUMS only`);
  return hash;
}

/** Keeps the archive in memory until its checksum is verified, so that a wrong one is never written to disk. */
async function downloadVerified(url: string, expected: string, progress: Job['progress']): Promise<Buffer> {
  const archive = await download(url, ARCHIVE_TIMEOUT_MS, progress);
  const actual = createHash('sha256').update(archive).digest('hex');
  if (actual === expected) return archive;
  throw new WrongChecksum(
    `${url} has the wrong checksum (expected ${expected}, got ${actual}) and was not unpacked. ` +
      'Try again from another network, or set NATS_SERVER_BIN.',
  );
}

async function download(url: string, timeoutMs: number, progress: Job['progress']): Promise<Buffer> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(timeoutMs) });
    if (!response.ok || !response.body) throw new Error(`HTTP status ${response.status}`);
    const size = Number(response.headers.get('content-length'));
    return await collect(response.body, (got) => {
      const share = size > 0 ? `${Math.floor((got / size) * 100)} % of ${(size / MB).toFixed(1)} MB` : `${got} bytes`;
      progress(`downloading ${url}: ${share}`);
    });
  } catch (error) {
    // The message of fetch is only "fetch failed"; the reason is in its cause.
    const { cause, message } = error as Error & { cause?: NodeJS.ErrnoException };
    throw new Error(`${url} cannot be downloaded (${cause?.code ?? message})`, { cause: error });
  }
}

async function collect(body: AsyncIterable<Uint8Array>, report: (received: number) => void): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let received = 0;
  let reportedAt = Date.now();
  for await (const chunk of body) {
    chunks.push(chunk);
    received += chunk.length;
    if (Date.now() - reportedAt < PROGRESS_EVERY_MS) continue;
    reportedAt = Date.now();
    report(received);
  }
  report(received);
  return Buffer.concat(chunks);
}

async function fromGo({ version, folder, env, progress }: Job): Promise<string> {
  progress(`building nats-server ${version} with Go (go install); this takes a few minutes`);
  const options = { timeout: BUILD_TIMEOUT_MS, cwd: folder, env: goEnvironment(env, folder) };
  await run('go', ['install', `${MODULE}@v${version}`], options);
  return join(folder, 'nats-server');
}

/**
 * Returns the user's environment without the Go settings that would change the build: flags, cross-compilation, and those
 * that turn off the checksum database, which verifies this download.
 */
function goEnvironment(env: NodeJS.ProcessEnv, folder: string): NodeJS.ProcessEnv {
  const GOSUMDB = env.GOSUMDB && env.GOSUMDB !== 'off' ? env.GOSUMDB : 'sum.golang.org';
  return { ...env, GOBIN: folder, GOOS: '', GOARCH: '', GOFLAGS: '', CGO_ENABLED: '0', GOSUMDB, GONOSUMDB: 'none' };
}

/** Runs a program until it exits. @throws {Error} with the last lines of its standard error, if it fails */
async function run(program: string, args: string[], options: object = {}): Promise<void> {
  await promisify(execFile)(program, args, options).catch((cause: Error & { stderr?: string }) => {
    const lastLines = cause.stderr?.trim().split('\n').slice(-3).join(' | ');
    throw new Error(`${program} ${args[0]} failed (${lastLines || cause.message})`, { cause });
  });
}

function notFetched(version: string, reasons: string[]): Error {
  const installer =
    process.platform === 'darwin'
      ? 'brew install nats-server'
      : 'with the package manager (apt install nats-server is too old on Debian 12 and Ubuntu 24.04)';
  return new Error(`nats-server ${version} could not be fetched:
${reasons.map((reason) => `  - ${reason}`).join('\n')}
Do one of these:
  - install it: ${installer}
  - download it: https://github.com/nats-io/nats-server/releases/tag/v${version}, then NATS_SERVER_BIN=/path/to/nats-server
  - install Go (https://go.dev/dl), then start Signalbox again
  - run it in Docker: docker run -p 127.0.0.1:4222:4222 -v nats:/data nats:${version} -js -sd /data, then NATS_URL=nats://127.0.0.1:4222`);
}
