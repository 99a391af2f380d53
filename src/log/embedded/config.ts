import { randomBytes } from 'node:crypto';
import { chmod, mkdir, readFile, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { replaceFile } from '../../files/replace.ts';

/** Where the embedded server is and how to get in; `.nats/address.json` holds exactly this. */
export interface ServerAddress {
  url: string;
  user: string;
  password: string;
}

/** What pino offers and this needs. */
export interface NatsLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export const HOST = '127.0.0.1';
export const LOG_FILE = 'nats-server.log';

/** Creates the folder, only for its owner, and answers with its real path: one store must not have two names. */
export async function preparePrivateFolder(folder: string): Promise<string> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const path = await realpath(folder);
  await chmod(path, 0o700);
  return path;
}

export function configPath(folder: string): string {
  return join(folder, 'nats-server.conf');
}

/** The address of the last run, so that programs that hold on to it can come back; a new password where there is none. */
export async function lastAddress(folder: string): Promise<ServerAddress> {
  try {
    return JSON.parse(await readFile(addressPath(folder), 'utf8'));
  } catch {
    return { url: `nats://${HOST}:0`, user: 'signalbox', password: newPassword() };
  }
}

export async function writeAddress(folder: string, address: ServerAddress): Promise<void> {
  await replaceFile(addressPath(folder), `${JSON.stringify(address, null, 2)}\n`);
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
export async function writeConfig(folder: string, address: ServerAddress, health: ServerAddress): Promise<void> {
  const config = `# Written by signalbox at every start.
server_name: signalbox
listen: "${new URL(address.url).host}"
log_file: "${LOG_FILE}"
log_size_limit: 4194304
logfile_max_num: 4
jetstream {
  store_dir: "store"
  sync_interval: always
  max_file_store: 1125899906842624
}
authorization {
  users: [ { user: "${address.user}", password: "${address.password}" } ]
}
accounts {
  $SYS {
    users: [ {
      user: "${health.user}", password: "${health.password}"
      permissions { publish: ["$SYS.REQ.SERVER.PING.HEALTHZ"], subscribe: ["_INBOX.>"] }
    } ]
  }
}
`;
  await replaceFile(configPath(folder), config);
}

function addressPath(folder: string): string {
  return join(folder, 'address.json');
}
