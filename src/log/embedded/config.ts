import { randomBytes } from 'node:crypto';
import { chmod, mkdir, readFile, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { replaceFile } from '../../files/replace.ts';

/** URL and credentials of the embedded server; the content of `.nats/address.json`. */
export interface ServerAddress {
  url: string;
  user: string;
  password: string;
}

/** The part of pino's logger that is used here. */
export interface NatsLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export const HOST = '127.0.0.1';
export const LOG_FILE = 'nats-server.log';

/** Creates the folder, accessible only to its owner. Returns its real path, because a store must not have two paths. */
export async function preparePrivateFolder(folder: string): Promise<string> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const path = await realpath(folder);
  await chmod(path, 0o700);
  return path;
}

export function configPath(folder: string): string {
  return join(folder, 'nats-server.conf');
}

/** Returns the address of the last run, so that clients can reconnect; on the first run, one with a new password. */
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
 * Writes the server's configuration. Paths are relative, because the server runs in its folder.
 *
 * `sync_interval: always`: by default, an acknowledged message reaches the disk up to two minutes later.
 * `max_file_store` is larger than any disk: the default is 75 % of the space that is free at the start. 2.10 counts the
 * existing store against that, and after a restart on a fuller disk it would refuse writes although there is space.
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
