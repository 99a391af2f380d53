import { statfs } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import type { NatsLog, ServerAddress } from './config.ts';

const TIMEOUT_MS = 3_000;
// A machine that swaps or was suspended responds late. A server that fails this many probes in a row does not recover.
const UNHEALTHY_AFTER = 6;
const ENOUGH_FREE_BYTES = 4 * 1024 * 1024;

/** The probe failed because this process lacks a resource. The health of the server is not known. */
const UNKNOWN = Symbol('unknown');
const LOCAL_ERRORS = ['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM', 'EADDRNOTAVAIL'];

/**
 * Probes the health of one run of the server until only a restart helps. Returns what is wrong. Rejects if `signal` aborts.
 *
 * After ENOSPC, 2.15 keeps a stream's write error until a restart, even when space is free again, and publishes time out
 * with an unknown outcome (measured: 2.15.1 and 2.15.2); 2.10 recovers by itself. HEALTHZ reports that write error. The
 * request uses the system account, because the monitoring port would answer any local process without a password.
 */
export async function untilUnhealthy(
  health: ServerAddress,
  { folder, log, everyMs, signal }: { folder: string; log: NatsLog; everyMs: number; signal: AbortSignal },
): Promise<string> {
  for (let failures = 0; ; ) {
    await sleep(everyMs, undefined, { signal });
    const error = await probe(health);
    signal.throwIfAborted();
    if (error === UNKNOWN) continue;
    if (error === undefined && failures >= UNHEALTHY_AFTER) log.info({}, 'nats-server is healthy again');
    failures = error === undefined ? 0 : failures + 1;
    if (failures === UNHEALTHY_AFTER) log.error({ error }, 'nats-server is unhealthy');
    if (error !== undefined && failures >= UNHEALTHY_AFTER && (await hasSpace(folder))) return error;
  }
}

/** Returns the version of the server. @throws {Error} if no server accepts these credentials */
export function versionAt(health: ServerAddress): Promise<string> {
  return withConnection(health, async (connection) => connection.info!.version);
}

/** Returns the error that the server reports, or undefined if it is healthy. */
async function probe(health: ServerAddress): Promise<string | undefined | typeof UNKNOWN> {
  try {
    return await withConnection(health, async (connection) => {
      const reply = await connection.request('$SYS.REQ.SERVER.PING.HEALTHZ', '', { timeout: TIMEOUT_MS });
      const { data } = reply.json<{ data: { status: string; error?: string } }>();
      return data.status === 'ok' ? undefined : (data.error ?? data.status);
    });
  } catch (error) {
    // If a socket cannot be opened, the client rejects with the error of the socket.
    const { code } = error as NodeJS.ErrnoException;
    return code !== undefined && LOCAL_ERRORS.includes(code) ? UNKNOWN : 'it does not answer';
  }
}

async function withConnection<T>(to: ServerAddress, use: (connection: NatsConnection) => Promise<T>): Promise<T> {
  const options = { reconnect: false, timeout: TIMEOUT_MS, ignoreClusterUpdates: true };
  const connection = await connect({ servers: to.url, user: to.user, pass: to.password, ...options });
  try {
    return await use(connection);
  } finally {
    await connection.close();
  }
}

/** A restart on a full disk does not help, and could leave the store unreadable until there is space. */
async function hasSpace(folder: string): Promise<boolean> {
  return statfs(folder).then(
    ({ bavail, bsize }) => bavail * bsize >= ENOUGH_FREE_BYTES,
    () => false,
  );
}
