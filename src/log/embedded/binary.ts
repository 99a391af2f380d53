// Linux and macOS. On Windows run Signalbox in Docker, or set NATS_URL to a nats-server of your own.

import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, isAbsolute, join } from 'node:path';
import { promisify } from 'node:util';
import semver from 'semver';
import { userCacheFolder } from '../../files/cache-folder.ts';
import { PINNED_NATS } from './archives.ts';
import { cachedPath, fetchNatsServer, type NatsBinary } from './fetch.ts';
import { alteration } from './record.ts';

export { PINNED_NATS } from './archives.ts';
export { fetchNatsServer } from './fetch.ts';

/** Before 2.10.23 a killed server process could lose acknowledged writes (nats-server 2.10.20-22, fixed in 2.10.23). */
export const MINIMUM_NATS = '2.10.23';

interface FindOptions {
  env?: NodeJS.ProcessEnv;
  progress: (line: string) => void;
}

/**
 * Finds nats-server: `NATS_SERVER_BIN`, else `PATH`, else the copy fetched before if it is unaltered, else fetches it once.
 * `progress` gets one line, without a line end, for everything a waiting person wants to know.
 *
 * @example const { path, version } = await findNatsServer({ progress: (line) => console.error(line) });
 */
export async function findNatsServer({ env = process.env, progress }: FindOptions): Promise<NatsBinary> {
  return (await installedNatsServer({ env, progress })) ?? fetchNatsServer({ version: PINNED_NATS, env, progress });
}

/** The same without fetching: null where none is at hand. */
export async function installedNatsServer({ env = process.env, progress }: FindOptions): Promise<NatsBinary | null> {
  if (env.NATS_SERVER_BIN) return named(env.NATS_SERVER_BIN);
  // Relative entries would make the answer depend on the current folder.
  const folders = (env.PATH ?? '').split(delimiter).filter(isAbsolute);
  const installed = folders.map((folder) => join(folder, 'nats-server'));
  for (const path of installed.filter(existsSync)) {
    try {
      return await examine(path);
    } catch (error) {
      progress(`${(error as Error).message}: looking further`);
    }
  }
  return cached(cachedPath(userCacheFolder(env), PINNED_NATS), progress);
}

/** The copy that was fetched before, if it is still that one: it is not run before that is known. */
async function cached(path: string, progress: FindOptions['progress']): Promise<NatsBinary | null> {
  if (!existsSync(path)) return null;
  try {
    const altered = await alteration(path);
    if (altered === null) return await examine(path);
    progress(`${altered}: it is not used`);
  } catch (error) {
    progress(`${(error as Error).message}: it is not used`);
  }
  return null;
}

/** What somebody named is taken or refused: another server instead of it would be a surprise. */
async function named(path: string): Promise<NatsBinary> {
  return examine(path).catch((cause: Error) => {
    throw new Error(`NATS_SERVER_BIN: ${cause.message}. Point it at such a nats-server, or unset it.`, { cause });
  });
}

/** Asks the program for its version (`nats-server: v2.15.2`). Throws where it is too old or something else. */
async function examine(path: string): Promise<NatsBinary> {
  const { stdout } = await promisify(execFile)(path, ['--version'], { timeout: 10_000 }).catch((cause: Error) => {
    throw new Error(`${path} does not run (${cause.message}); nats-server ${MINIMUM_NATS} or newer is needed`, {
      cause,
    });
  });
  const version = semver.parse(/\bv(\d+\.\d+\.\d+\S*)/.exec(stdout)?.[1])?.version;
  if (version && semver.gte(version, MINIMUM_NATS)) return { path, version };
  const what = version ? `is nats-server ${version}` : 'is no nats-server';
  throw new Error(`${path} ${what}; ${MINIMUM_NATS} or newer is needed`);
}
