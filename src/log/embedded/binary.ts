import { access, constants } from 'node:fs/promises';
import { delimiter, isAbsolute, join } from 'node:path';
import { cachedPath, EXECUTABLE, fetchNatsServer, userCacheFolder } from './fetch.ts';
import { isNewEnough, MINIMUM_NATS, natsServerVersion, PINNED_NATS } from './version.ts';

export { fetchNatsServer } from './fetch.ts';
export { MINIMUM_NATS, natsServerVersion, PINNED_NATS } from './version.ts';

export interface NatsBinary {
  /** Where the program is. */
  path: string;
  /** Without a leading `v`. */
  version: string;
}

/**
 * Finds nats-server: `NATS_SERVER_BIN`, else `PATH`, else the copy fetched before, else fetches it once.
 * `progress` gets one line, without a line end, for everything a waiting person wants to know.
 *
 * @example const { path, version } = await findNatsServer({ progress: (line) => console.error(line) });
 */
export async function findNatsServer({
  env = process.env,
  progress,
}: {
  env?: NodeJS.ProcessEnv;
  progress: (line: string) => void;
}): Promise<NatsBinary> {
  if (env.NATS_SERVER_BIN) return named(env.NATS_SERVER_BIN);
  return (
    (await onPath(env, progress)) ??
    (await fetchedBefore(env, progress)) ??
    (await fetchNatsServer({ version: PINNED_NATS, env, progress }))
  );
}

/** What somebody named is taken or refused: another server instead of it would be a surprise. */
async function named(path: string): Promise<NatsBinary> {
  const wanted = `nats-server ${MINIMUM_NATS} or newer`;
  const version = await natsServerVersion(path).catch((cause: unknown) => {
    throw new Error(
      `NATS_SERVER_BIN=${path} is not a nats-server that runs here. Point it at ${wanted}, or unset it.`,
      {
        cause,
      },
    );
  });
  if (isNewEnough(version)) return { path, version };
  throw new Error(`NATS_SERVER_BIN=${path} is nats-server ${version}. Point it at ${wanted}, or unset it.`);
}

async function onPath(env: NodeJS.ProcessEnv, progress: (line: string) => void): Promise<NatsBinary | undefined> {
  // Windows spells it Path. Relative entries would make the answer depend on the current folder.
  const folders = (env.PATH ?? env.Path ?? '').split(delimiter).filter(isAbsolute);
  for (const folder of folders) {
    const found = await usable(join(folder, EXECUTABLE), progress);
    if (found) return found;
  }
  return undefined;
}

function fetchedBefore(env: NodeJS.ProcessEnv, progress: (line: string) => void): Promise<NatsBinary | undefined> {
  return usable(cachedPath(userCacheFolder(env), PINNED_NATS), progress);
}

async function usable(path: string, progress: (line: string) => void): Promise<NatsBinary | undefined> {
  if (!(await isExecutable(path))) return undefined;
  const version = await natsServerVersion(path).catch(() => undefined);
  if (version && isNewEnough(version)) return { path, version };
  const what = version ? `is nats-server ${version}; ${MINIMUM_NATS} or newer is needed` : 'does not run';
  progress(`${path} ${what}: looking further`);
  return undefined;
}

async function isExecutable(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}
