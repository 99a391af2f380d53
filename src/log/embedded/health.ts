import { statfs } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import type { NatsLog, ServerAddress } from './config.ts';

const TIMEOUT_MS = 3_000;
// A machine that swaps or was asleep gives late answers; a server that fails this often in a row will not recover.
const SICK_PROBES = 6;
const ENOUGH_FREE_BYTES = 4 * 1024 * 1024;

/** The probe could not be made, for want of something of our own. That says nothing about the server. */
const UNKNOWN = Symbol('unknown');
const OUR_OWN_LACK = ['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM', 'EADDRNOTAVAIL'];

/**
 * Asks one run of the server for its health until only a restart helps, and answers with what is wrong. Rejects when
 * `signal` aborts.
 *
 * After ENOSPC 2.15 keeps a stream's write error until it is restarted, also when space is back, and publishes time out
 * with an unknown outcome (measured: 2.15.1 and 2.15.2); 2.10 recovers by itself. HEALTHZ names the stream's write error. It
 * is asked for over the system account: the monitoring port would tell everybody on this machine, without a password.
 */
export async function illness(
  health: ServerAddress,
  { folder, log, everyMs, signal }: { folder: string; log: NatsLog; everyMs: number; signal: AbortSignal },
): Promise<string> {
  for (let failures = 0; ; ) {
    await sleep(everyMs, undefined, { signal });
    const error = await problem(health);
    signal.throwIfAborted();
    if (error === UNKNOWN) continue;
    if (error === undefined && failures >= SICK_PROBES) log.info({}, 'nats-server is healthy again');
    failures = error === undefined ? 0 : failures + 1;
    if (failures === SICK_PROBES) log.error({ error }, 'nats-server is unhealthy');
    if (error !== undefined && failures >= SICK_PROBES && (await hasRoom(folder))) return error;
  }
}

/** The version of the server that lets this user in; throws where none does. */
export function versionAt(health: ServerAddress): Promise<string> {
  return visit(health, async (connection) => connection.info!.version);
}

async function problem(health: ServerAddress): Promise<string | undefined | typeof UNKNOWN> {
  try {
    return await visit(health, async (connection) => {
      const reply = await connection.request('$SYS.REQ.SERVER.PING.HEALTHZ', '', { timeout: TIMEOUT_MS });
      const { data } = reply.json<{ data: { status: string; error?: string } }>();
      return data.status === 'ok' ? undefined : (data.error ?? data.status);
    });
  } catch (error) {
    // The client passes on the error of a socket that could not be opened as it is.
    const { code } = error as NodeJS.ErrnoException;
    return code !== undefined && OUR_OWN_LACK.includes(code) ? UNKNOWN : 'it does not answer';
  }
}

async function visit<T>(at: ServerAddress, ask: (connection: NatsConnection) => Promise<T>): Promise<T> {
  const options = { reconnect: false, timeout: TIMEOUT_MS, ignoreClusterUpdates: true };
  const connection = await connect({ servers: at.url, user: at.user, pass: at.password, ...options });
  try {
    return await ask(connection);
  } finally {
    await connection.close();
  }
}

/** Restarting on a full disk would gain nothing and could leave the store unreadable until there is room. */
async function hasRoom(folder: string): Promise<boolean> {
  return statfs(folder).then(
    ({ bavail, bsize }) => bavail * bsize >= ENOUGH_FREE_BYTES,
    () => false,
  );
}
