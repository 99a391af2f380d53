import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmod, mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { userCacheFolder } from '../../files/cache-folder.ts';
import { PINNED_ARCHIVES, PINNED_NATS } from './archives.ts';
import { recordHash, recordOf } from './record.ts';

const RELEASES = 'https://github.com/nats-io/nats-server/releases/download';
const MODULE = 'github.com/nats-io/nats-server/v2';
const SUMS_TIMEOUT_MS = 30_000;
// About 8 MB. A connection on which nothing comes is ended by Node's fetch itself, after 5 minutes.
const ARCHIVE_TIMEOUT_MS = 15 * 60_000;
// From an empty module cache on 2 cores `go install` of the server takes minutes; a small board takes a quarter of an hour.
const BUILD_TIMEOUT_MS = 30 * 60_000;
const PLATFORM = `${process.platform}-${process.arch === 'x64' ? 'amd64' : process.arch}`;
const SAY_EVERY_MS = 2_000;
const MB = 1_000_000;

export interface NatsBinary {
  /** Where the program is. */
  path: string;
  /** Without a leading `v`. */
  version: string;
}

interface FetchOptions {
  /** Without a leading `v`. */
  version: string;
  /** Where releases are: `<releases>/v<version>/SHA256SUMS`. */
  releases?: string;
  /** SHA-256 of that version's archives, by platform; default: what is known of the pinned version. */
  archives?: Record<string, string>;
  env?: NodeJS.ProcessEnv;
  progress: (line: string) => void;
}

type Job = Required<FetchOptions> & { folder: string };

class WrongChecksum extends Error {}

/**
 * Fetches nats-server into the user's cache folder. Where the hash of the release archive is known here, that archive is
 * downloaded, or else `go install` builds it. Where it is not known, Go comes first, and an archive has to have the hash that its
 * own release publishes. An archive with another hash is refused and no other way is tried.
 *
 * The program's own hash is recorded beside it. Two processes may fetch at once: whoever comes second puts the same program
 * there again.
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
    const ways = archives[PLATFORM] ? [fromRelease, fromGo] : [fromGo, fromRelease];
    const program = await firstThatWorks(ways, { version, releases, archives, env, progress, folder });
    await chmod(program, 0o755);
    const record = await recordHash(program);
    await mkdir(dirname(path), { recursive: true });
    // Where these two meet those of another process, or of a crash, they do not fit together, and it is fetched again.
    await rename(program, path);
    await rename(record, recordOf(path));
    progress(`nats-server ${version} is now at ${path}`);
    return { path, version };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

export function cachedPath(cacheFolder: string, version: string): string {
  return join(cacheFolder, 'signalbox', `nats-server-v${version}`, 'nats-server');
}

/** Beside its destination, so that the last step is a rename: somebody who looks sees no program or a whole one. */
async function makeWorkFolder(parent: string): Promise<string> {
  await mkdir(parent, { recursive: true });
  return mkdtemp(join(parent, '.fetch-'));
}

async function firstThatWorks(ways: ((job: Job) => Promise<string>)[], job: Job): Promise<string> {
  const reasons: string[] = [];
  for (const way of ways) {
    try {
      return await way(job);
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

/** What the release itself says. A system without an archive shows as one that it does not list. */
async function publishedHash(release: string, file: string, progress: Job['progress']): Promise<string> {
  const sums = await download(`${release}/SHA256SUMS`, SUMS_TIMEOUT_MS, () => undefined);
  const lines = sums.toString('utf8').split('\n');
  const [hash] = lines.map((line) => line.split(/\s+\*?/)).find(([, name]) => name === file) ?? [];
  if (!hash) throw new Error(`${release}/SHA256SUMS does not list ${file}`);
  progress(`the hash of ${file} is not known here: the archive is checked against ${release}/SHA256SUMS only`);
  return hash;
}

/** Kept in memory until its hash is known to be right: anything else never becomes a file. */
async function downloadVerified(url: string, expected: string, progress: Job['progress']): Promise<Buffer> {
  const archive = await download(url, ARCHIVE_TIMEOUT_MS, progress);
  const actual = createHash('sha256').update(archive).digest('hex');
  if (actual === expected) return archive;
  throw new WrongChecksum(
    `${url} does not have the checksum that it must have (expected ${expected}, got ${actual}). ` +
      'It was not unpacked. Try again from another network, or set NATS_SERVER_BIN.',
  );
}

async function download(url: string, timeoutMs: number, progress: Job['progress']): Promise<Buffer> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(timeoutMs) });
    if (!response.ok || !response.body) throw new Error(`it answered ${response.status}`);
    const size = Number(response.headers.get('content-length'));
    return await collect(response.body, (got) => {
      const share = size > 0 ? `${Math.floor((got / size) * 100)} % of ${(size / MB).toFixed(1)} MB` : `${got} bytes`;
      progress(`downloading ${url}: ${share}`);
    });
  } catch (error) {
    // fetch says only "fetch failed"; what failed is in its cause.
    const { cause, message } = error as Error & { cause?: NodeJS.ErrnoException };
    throw new Error(`${url} cannot be had (${cause?.code ?? message})`, { cause: error });
  }
}

async function collect(body: AsyncIterable<Uint8Array>, tell: (got: number) => void): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let got = 0;
  let told = Date.now();
  for await (const chunk of body) {
    chunks.push(chunk);
    got += chunk.length;
    if (Date.now() - told < SAY_EVERY_MS) continue;
    told = Date.now();
    tell(got);
  }
  tell(got);
  return Buffer.concat(chunks);
}

async function fromGo({ version, folder, env, progress }: Job): Promise<string> {
  progress(`building nats-server ${version} with Go (go install); this takes some minutes`);
  const options = { timeout: BUILD_TIMEOUT_MS, cwd: folder, env: goEnvironment(env, folder) };
  await run('go', ['install', `${MODULE}@v${version}`], options);
  return join(folder, 'nats-server');
}

/**
 * The user's Go settings, less what would make the build another one: flags and cross-compiling, and the settings that turn
 * the checksum database off, because it is what vouches for this download.
 */
function goEnvironment(env: NodeJS.ProcessEnv, folder: string): NodeJS.ProcessEnv {
  const GOSUMDB = env.GOSUMDB && env.GOSUMDB !== 'off' ? env.GOSUMDB : 'sum.golang.org';
  return { ...env, GOBIN: folder, GOOS: '', GOARCH: '', GOFLAGS: '', CGO_ENABLED: '0', GOSUMDB, GONOSUMDB: 'none' };
}

/** Runs a program to its end. Rejects with its last words. */
async function run(program: string, args: string[], options: object = {}): Promise<void> {
  await promisify(execFile)(program, args, options).catch((cause: Error & { stderr?: string }) => {
    const said = cause.stderr?.trim().split('\n').slice(-3).join(' | ');
    throw new Error(`${program} ${args[0]} does not work here (${said || cause.message})`, { cause });
  });
}

function notFetched(version: string, reasons: string[]): Error {
  const installer =
    process.platform === 'darwin'
      ? 'brew install nats-server'
      : 'your distribution (apt install nats-server is too old on Debian 12 and Ubuntu 24.04)';
  return new Error(`nats-server ${version} could not be fetched:
${reasons.map((reason) => `  - ${reason}`).join('\n')}
Any one of these helps:
  - install it: ${installer}
  - download it: https://github.com/nats-io/nats-server/releases/tag/v${version}, then NATS_SERVER_BIN=/path/to/nats-server
  - install Go (https://go.dev/dl), then start again
  - run it elsewhere: docker run -p 127.0.0.1:4222:4222 -v nats:/data nats:${version} -js -sd /data, then NATS_URL=nats://127.0.0.1:4222`);
}
