import { randomBytes } from 'node:crypto';
import { chmod, mkdir, open, readFile, realpath, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';

/** Where the embedded server is and how to get in; `.nats/address.json` holds exactly this. */
export interface NatsAddress {
  url: string;
  user: string;
  password: string;
}

export const HOST = '127.0.0.1';
export const SERVER_NAME = 'signalbox';
export const LOG_FILE = 'nats-server.log';
export const HEALTH_USER = 'health';

const USER = 'signalbox';

/** Creates the folder, only for its owner, and answers with its real path: one store must not have two names. */
export async function preparePrivateFolder(folder: string): Promise<string> {
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const path = await realpath(folder);
    await chmod(path, 0o700);
    return path;
  } catch (cause) {
    throw unusable(folder, cause);
  }
}

export function configPath(folder: string): string {
  return join(folder, 'nats-server.conf');
}

/** The address of the last run, so that programs that hold on to it can come back; a new password where there is none. */
export async function lastAddress(folder: string): Promise<NatsAddress> {
  const fresh = { url: `nats://${HOST}:0`, user: USER, password: newPassword() };
  try {
    const { url, password } = JSON.parse(await readFile(addressPath(folder), 'utf8')) as Partial<NatsAddress>;
    if (!url || !URL.canParse(url) || !password || !/^[\w-]{32,}$/.test(password)) return fresh;
    return { url, user: USER, password };
  } catch {
    return fresh;
  }
}

export async function writeAddress(folder: string, address: NatsAddress): Promise<void> {
  await writePrivately(addressPath(folder), `${JSON.stringify(address, null, 2)}\n`);
}

export function newPassword(): string {
  return randomBytes(32).toString('base64url');
}

/**
 * The server runs in its folder, so that paths here are relative and need no quoting.
 *
 * `sync_interval: always`: the default acknowledges up to two minutes before it is on disk. `max_file_store` is beyond any
 * disk: by default it is 75 % of what is free at start, and 2.10 counts what the store holds already against that, so
 * that a restart on a fuller disk would refuse writes while there is room.
 */
export async function writeConfig(
  folder: string,
  port: number,
  password: string,
  healthPassword: string,
): Promise<void> {
  const config = `# Written by signalbox at every start.
server_name: ${SERVER_NAME}
listen: "${HOST}:${port}"
log_file: "${LOG_FILE}"
log_size_limit: 4194304
logfile_max_num: 4
jetstream {
  store_dir: "store"
  sync_interval: always
  max_file_store: 1125899906842624
}
authorization {
  users: [ { user: "${USER}", password: "${password}" } ]
}
accounts {
  $SYS {
    users: [ {
      user: "${HEALTH_USER}", password: "${healthPassword}"
      permissions { publish: ["$SYS.REQ.SERVER.PING.HEALTHZ"], subscribe: ["_INBOX.>"] }
    } ]
  }
}
`;
  await writePrivately(configPath(folder), config);
}

function addressPath(folder: string): string {
  return join(folder, 'address.json');
}

/**
 * By rename, so that nobody reads half a file and the mode is right from its first byte on. What is right already is left
 * alone: a restart on a full disk needs no room.
 */
async function writePrivately(path: string, text: string): Promise<void> {
  if (await isPrivately(path, text)) return;
  const temporary = `${path}.${process.pid}.new`;
  try {
    const file = await open(temporary, 'w', 0o600);
    try {
      await file.chmod(0o600);
      await file.writeFile(text);
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (cause) {
    await rm(temporary, { force: true });
    throw unusable(path, cause);
  }
}

function unusable(path: string, cause: unknown): Error {
  const why = cause instanceof Error ? cause.message : String(cause);
  const next = 'Make room or give this user the right to write there, or set REGISTRY_VOLUME to another folder.';
  return new Error(`${path} cannot be written (${why}). ${next}`, { cause });
}

async function isPrivately(path: string, text: string): Promise<boolean> {
  try {
    const { mode } = await stat(path);
    return (process.platform === 'win32' || (mode & 0o777) === 0o600) && (await readFile(path, 'utf8')) === text;
  } catch {
    return false;
  }
}
