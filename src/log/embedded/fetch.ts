import { chmod, mkdir, mkdtemp, readdir, rename, rm, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { downloadVerified } from './download.ts';
import { runProgram } from './run.ts';
import { natsServerVersion } from './version.ts';

export const EXECUTABLE = process.platform === 'win32' ? 'nats-server.exe' : 'nats-server';

const RELEASES = 'https://github.com/nats-io/nats-server/releases/download';
const MODULE = 'github.com/nats-io/nats-server/v2';
// From an empty module cache on 2 cores `go install` of the server takes minutes; a small board takes a quarter of an hour.
const BUILD_TIMEOUT_MS = 30 * 60_000;
const UNPACK_TIMEOUT_MS = 2 * 60_000;
const ABANDONED_AFTER_MS = 24 * 3600_000;

/** The names in the release archives; what is not here has no archive and is built by Go. */
const OS: Partial<Record<NodeJS.Platform, string>> = {
  linux: 'linux',
  darwin: 'darwin',
  win32: 'windows',
  freebsd: 'freebsd',
};
const ARCH: Partial<Record<NodeJS.Architecture, string>> = {
  x64: 'amd64',
  arm64: 'arm64',
  arm: 'arm7',
  ia32: '386',
  s390x: 's390x',
};

export interface FetchOptions {
  /** Without a leading `v`. */
  version: string;
  cacheFolder?: string;
  /** Where releases are: `<releases>/v<version>/SHA256SUMS`. */
  releases?: string;
  env?: NodeJS.ProcessEnv;
  progress: (line: string) => void;
}

/** A way of getting the program that does not work here: the next one is tried. Any other error ends the attempt. */
class RouteClosed extends Error {}

/**
 * Fetches nats-server into the cache folder: the release archive, checked against the release's SHA256SUMS, or, where that
 * cannot be reached, `go install`. A wrong checksum is refused and no other way is tried. Two processes may do it at once.
 */
export async function fetchNatsServer(options: FetchOptions): Promise<{ path: string; version: string }> {
  const { version, env = process.env, progress } = options;
  const cacheFolder = options.cacheFolder ?? userCacheFolder(env);
  const folder = await makeWorkFolder(cacheFolder);
  try {
    const job = { version, folder, env, progress, releases: options.releases ?? RELEASES };
    const built = await firstOpen([() => fromRelease(job), () => fromGo(job)], version, progress);
    await mustAnswer(built, version);
    const path = cachedPath(cacheFolder, version);
    await moveIntoPlace(built, path);
    progress(`nats-server ${version} is now at ${path}`);
    return { path, version };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

export function userCacheFolder(env: NodeJS.ProcessEnv): string {
  const home = env.HOME || homedir();
  if (process.platform === 'darwin') return join(home, 'Library', 'Caches');
  if (process.platform === 'win32') return env.LOCALAPPDATA || join(home, 'AppData', 'Local');
  return env.XDG_CACHE_HOME || join(home, '.cache');
}

export function cachedPath(cacheFolder: string, version: string): string {
  return join(cacheFolder, 'signalbox', `nats-server-v${version}`, EXECUTABLE);
}

interface Job {
  version: string;
  folder: string;
  releases: string;
  env: NodeJS.ProcessEnv;
  progress: (line: string) => void;
}

async function firstOpen(
  routes: (() => Promise<string>)[],
  version: string,
  progress: (line: string) => void,
): Promise<string> {
  const closed: RouteClosed[] = [];
  for (const route of routes) {
    try {
      return await route();
    } catch (error) {
      if (!(error instanceof RouteClosed)) throw error;
      progress(error.message);
      closed.push(error);
    }
  }
  const reasons = closed.map((error) => `  - ${error.message}`).join('\n');
  throw new Error(`nats-server ${version} could not be fetched:\n${reasons}\n${howToInstall(version)}`, {
    cause: new AggregateError(closed),
  });
}

async function fromRelease({ version, folder, releases, progress }: Job): Promise<string> {
  const os = OS[process.platform];
  const arch = ARCH[process.arch];
  if (!os || !arch) throw new RouteClosed(`there is no release archive for ${process.platform} on ${process.arch}`);
  const name = `nats-server-v${version}-${os}-${arch}`;
  const file = `${name}.${os === 'windows' ? 'zip' : 'tar.gz'}`;
  const archive = join(folder, file);
  const unreachable = await downloadVerified({ release: `${releases}/v${version}`, file, to: archive, progress });
  if (unreachable)
    throw new RouteClosed(`the release archive cannot be had (${unreachable.message})`, { cause: unreachable });
  return unpack(archive, folder, `${name}/${EXECUTABLE}`);
}

/** Only the program is taken out of the archive. */
async function unpack(archive: string, folder: string, member: string): Promise<string> {
  // Git for Windows puts a GNU tar on PATH that reads no zip and takes `C:` for a host; the system's own bsdtar reads both.
  const tar =
    process.platform === 'win32' ? join(process.env.SystemRoot ?? 'C:\\Windows', 'System32', 'tar.exe') : 'tar';
  const args = ['-xf', archive, '-C', folder, member];
  await runProgram(tar, args, { timeoutMs: UNPACK_TIMEOUT_MS }).catch((cause: Error) => {
    throw new RouteClosed(`the release archive could not be unpacked (${cause.message})`, { cause });
  });
  return join(folder, member);
}

async function fromGo({ version, folder, env, progress }: Job): Promise<string> {
  progress(`building nats-server ${version} with Go (go install); this takes some minutes`);
  const started = Date.now();
  const stillThere = setInterval(() => {
    progress(`still building nats-server ${version} (${Math.round((Date.now() - started) / 1000)} s)`);
  }, 20_000);
  try {
    const options = { timeoutMs: BUILD_TIMEOUT_MS, cwd: folder, env: goEnvironment(env, folder) };
    await runProgram('go', ['install', `${MODULE}@v${version}`], options);
    return join(folder, EXECUTABLE);
  } catch (cause) {
    throw new RouteClosed(`go install does not work here (${(cause as Error).message})`, { cause });
  } finally {
    clearInterval(stillThere);
  }
}

/**
 * The user's Go settings, less what would make the build another one: flags and cross-compiling, and the settings that turn
 * the checksum database off, because it is what vouches for this download.
 */
function goEnvironment(env: NodeJS.ProcessEnv, folder: string): NodeJS.ProcessEnv {
  const { GOOS: _os, GOARCH: _arch, GOPRIVATE: _private, ...rest } = env;
  const sumdb = env.GOSUMDB && env.GOSUMDB !== 'off' ? env.GOSUMDB : 'sum.golang.org';
  return {
    ...rest,
    GOBIN: folder,
    GOFLAGS: '',
    GO111MODULE: 'on',
    CGO_ENABLED: '0',
    GOSUMDB: sumdb,
    GONOSUMDB: 'none',
  };
}

async function mustAnswer(path: string, version: string): Promise<void> {
  await chmod(path, 0o755);
  const answered = await natsServerVersion(path);
  if (answered !== version) throw new Error(`What was fetched as nats-server ${version} says that it is ${answered}.`);
}

/** A rename: somebody who looks sees no program or a whole one. Whoever comes second puts the same program there again. */
async function moveIntoPlace(built: string, path: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  try {
    await rename(built, path);
  } catch (error) {
    // Windows does not replace a program that runs: then the other process's copy is there and in use.
    if (!(await stat(path).catch(() => undefined))) throw error;
  }
}

/** Beside its destination, so that the last step is a rename within one file system. */
async function makeWorkFolder(cacheFolder: string): Promise<string> {
  const parent = join(cacheFolder, 'signalbox');
  try {
    await mkdir(parent, { recursive: true });
    await removeAbandoned(parent);
    return await mkdtemp(join(parent, '.fetch-'));
  } catch (cause) {
    const next = 'Make it writable, or install nats-server and set NATS_SERVER_BIN to its path.';
    throw new Error(`nats-server cannot be kept in ${parent}. ${next}`, { cause });
  }
}

/** What a fetch that was killed left behind. */
async function removeAbandoned(parent: string): Promise<void> {
  for (const name of await readdir(parent)) {
    if (!name.startsWith('.fetch-')) continue;
    const found = await stat(join(parent, name)).catch(() => undefined);
    if (found && Date.now() - found.mtimeMs > ABANDONED_AFTER_MS) {
      await rm(join(parent, name), { recursive: true, force: true });
    }
  }
}

function howToInstall(version: string): string {
  const installers: Partial<Record<NodeJS.Platform, string>> = {
    darwin: 'brew install nats-server',
    win32: 'winget install NATSAuthors.NATSServer (or scoop, choco: nats-server)',
    linux: 'your distribution (apt install nats-server is too old on Debian 12 and Ubuntu 24.04)',
  };
  const installer = installers[process.platform];
  return [
    'Any one of these helps:',
    ...(installer ? [`  - install it: ${installer}`] : []),
    `  - download it: https://github.com/nats-io/nats-server/releases/tag/v${version}, then NATS_SERVER_BIN=/path/to/nats-server`,
    `  - install Go (https://go.dev/dl), then start again`,
    `  - run it elsewhere: docker run -p 127.0.0.1:4222:4222 -v nats:/data nats:${version} -js -sd /data, then NATS_URL=nats://127.0.0.1:4222`,
  ].join('\n');
}
