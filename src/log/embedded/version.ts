import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { gte, parse } from 'semver';

/** Before 2.10.23 a killed server process could lose acknowledged writes (nats-server 2.10.20-22, fixed in 2.10.23). */
export const MINIMUM_NATS = '2.10.23';
/** The version that is fetched where none is installed. */
export const PINNED_NATS = '2.15.2';

const run = promisify(execFile);

/**
 * The version that `<path> --version` prints, such as `2.15.2` (it prints `nats-server: v2.15.2`).
 * Throws an Error when the file cannot be run or answers something else.
 */
export async function natsServerVersion(path: string): Promise<string> {
  const printed = await run(path, ['--version'], { timeout: 10_000, maxBuffer: 64 * 1024 }).catch((cause: unknown) => {
    throw new Error(`${path} cannot be run as nats-server.`, { cause });
  });
  const version = parse(/\bv(\d+\.\d+\.\d+\S*)/.exec(printed.stdout)?.[1]);
  if (!version) throw new Error(`${path} --version does not answer with a nats-server version.`);
  return version.version;
}

export function isNewEnough(version: string): boolean {
  return gte(version, MINIMUM_NATS);
}
