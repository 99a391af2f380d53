// For Linux and macOS. On Windows, run Signalbox in Docker or set NATS_URL to an existing nats-server.

import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, isAbsolute, join } from 'node:path';
import { promisify } from 'node:util';
import semver from 'semver';
import { userCacheFolder } from '../../files/cache-folder.ts';
import { PINNED_NATS } from './archives.ts';
import { checksumMismatch } from './checksum.ts';
import { cachedPath, fetchNatsServer, type NatsBinary } from './fetch.ts';

export { PINNED_NATS } from './archives.ts';
export { fetchNatsServer } from './fetch.ts';

/** Before 2.10.23 a killed server process could lose acknowledged writes (nats-server 2.10.20-22, fixed in 2.10.23). */
export const MINIMUM_NATS = '2.10.23';

interface FindOptions {
  env?: NodeJS.ProcessEnv;
  progress: (line: string) => void;
}

/**
 * Finds nats-server: `NATS_SERVER_BIN`, then `PATH`, then the copy in the cache if its checksum matches. Otherwise fetches
 * it into the cache. `progress` receives each progress message as one line, without a line break.
 *
 * @example const { path, version } = await findNatsServer({ progress: (line) => console.error(line) });
 */
export async function findNatsServer({ env = process.env, progress }: FindOptions): Promise<NatsBinary> {
  return (await installedNatsServer({ env, progress })) ?? fetchNatsServer({ version: PINNED_NATS, env, progress });
}

/** Finds nats-server as `findNatsServer` does, but returns null instead of fetching it. */
export async function installedNatsServer({ env = process.env, progress }: FindOptions): Promise<NatsBinary | null> {
  if (env.NATS_SERVER_BIN) return examineNamed(env.NATS_SERVER_BIN);
  // Relative entries would make the result depend on the current folder.
  const folders = (env.PATH ?? '').split(delimiter).filter(isAbsolute);
  const installed = folders.map((folder) => join(folder, 'nats-server'));
  for (const path of installed.filter(existsSync)) {
    try {
      return await examine(path);
    } catch (error) {
      progress(`${(error as Error).message}; searching on`);
    }
  }
  return cached(cachedPath(userCacheFolder(env), PINNED_NATS), progress);
}

/** Returns the copy in the cache; null if it is missing or altered. Checks the checksum before it runs the program. */
async function cached(path: string, progress: FindOptions['progress']): Promise<NatsBinary | null> {
  if (!existsSync(path)) return null;
  try {
    const mismatch = await checksumMismatch(path);
    if (mismatch === null) return await examine(path);
    progress(`${mismatch}; it is not used`);
  } catch (error) {
    progress(`${(error as Error).message}; it is not used`);
  }
  return null;
}

/** Fails if the program that the user chose is unsuitable, instead of silently using another one. */
async function examineNamed(path: string): Promise<NatsBinary> {
  return examine(path).catch((cause: Error) => {
    throw new Error(`NATS_SERVER_BIN: ${cause.message}. Set it to a suitable nats-server, or unset it.`, { cause });
  });
}

/** Runs `--version` (output: `nats-server: v2.15.2`). @throws {Error} if the program is too old or not a nats-server */
async function examine(path: string): Promise<NatsBinary> {
  const { stdout } = await promisify(execFile)(path, ['--version'], { timeout: 10_000 }).catch((cause: Error) => {
    throw new Error(`${path} does not run (${cause.message}); Signalbox needs nats-server ${MINIMUM_NATS} or newer`, {
      cause,
    });
  });
  const version = semver.parse(/\bv(\d+\.\d+\.\d+\S*)/.exec(stdout)?.[1])?.version;
  if (version && semver.gte(version, MINIMUM_NATS)) return { path, version };
  const what = version ? `is nats-server ${version}` : 'is not a nats-server';
  throw new Error(`${path} ${what}; Signalbox needs ${MINIMUM_NATS} or newer`);
}
