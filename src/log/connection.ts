import { setTimeout as sleep } from 'node:timers/promises';
import { type JetStreamClient, type JetStreamManager, jetstream, jetstreamManager } from '@nats-io/jetstream';
import { type ConnectionOptions, connect, type NatsConnection } from '@nats-io/transport-node';
import semver from 'semver';
import { MINIMUM_NATS } from './embedded/binary.ts';

export interface NatsAddress {
  servers: string[];
  user?: string;
  pass?: string;
}

/** One connection and its two JetStream clients. */
export interface Nats {
  nc: NatsConnection;
  js: JetStreamClient;
  jsm: JetStreamManager;
}

const API_TIMEOUT_MS = 5_000;

/** Parses `NATS_URL`: `nats://[user:pass@]host:port[,host:port…]`, or `tls://…`. @throws {TypeError} if it is invalid */
export function parseNatsUrl(text: string): NatsAddress {
  const [scheme] = /^(nats|tls):\/\//.exec(text) ?? [];
  // The message does not quote the URL, which may contain a password.
  if (!scheme) throw new TypeError('A NATS URL must start with nats:// or tls://.');
  const urls = text.split(',').map((part) => new URL(part.includes('://') ? part.trim() : scheme + part.trim()));
  if (!urls.every(({ host, protocol }) => host !== '' && `${protocol}//` === scheme)) {
    throw new TypeError(`Every server in a NATS URL needs a host and the scheme of the first one, ${scheme}.`);
  }
  const user = decodeURIComponent(urls[0]!.username);
  const servers = urls.map(({ host }) => scheme + host);
  return { servers, ...(user && { user, pass: decodeURIComponent(urls[0]!.password) }) };
}

/**
 * Connects, and retries until the signal aborts; reconnects without limit. By default the client closes the connection
 * for good after about 20 seconds, and takes minutes to notice a half-open one.
 *
 * @throws {Error} if the server is too old: see `checkVersion`
 */
export async function connectNats(address: NatsAddress, name: string, signal?: AbortSignal): Promise<Nats> {
  // The client offers no other way to cancel its first connection attempts.
  const reconnectToServer = () => {
    signal?.throwIfAborted();
    return null; // the next server of the list
  };
  const nc = await connect({ ...options(address), name, reconnectToServer });
  try {
    checkVersion(nc.info!.version);
    return { nc, js: jetstream(nc, { timeout: API_TIMEOUT_MS }), jsm: await manager(nc) };
  } catch (error) {
    await nc.close();
    throw error;
  }
}

/** Connects without retries, trying each server once. @throws {Error} why the connection failed */
export function connectOnce(address: NatsAddress): Promise<NatsConnection> {
  const once = { waitOnFirstConnect: false, reconnect: false, timeout: API_TIMEOUT_MS };
  return connect({ ...options(address), ...once, name: 'signalbox set-up' });
}

function options({ servers, user, pass }: NatsAddress): ConnectionOptions {
  return {
    servers,
    ...(user !== undefined && { user, pass: pass ?? '' }),
    // The client ignores the scheme: without this it would send the password unencrypted to a server without TLS.
    ...(servers.some((server) => server.startsWith('tls://')) && { tls: {} }),
    waitOnFirstConnect: true,
    maxReconnectAttempts: -1,
    reconnectTimeWait: 250,
    reconnectJitter: 250,
    pingInterval: 10_000,
    maxPingOut: 2,
  };
}

/**
 * In 2.10.20 to 2.10.22 a process crash could lose whole streams (nats-server#6888), and 2.9 breaks compare-and-set.
 *
 * @throws {Error} if the version is older than 2.10.23
 */
export function checkVersion(version: string): void {
  if (semver.gte(version, MINIMUM_NATS)) return;
  throw new Error(`nats-server ${version} is too old. Signalbox needs ${MINIMUM_NATS} or newer.`);
}

/** Retries for 60 s: a cluster without a meta leader answers "temporarily unavailable". */
async function manager(nc: NatsConnection): Promise<JetStreamManager> {
  const deadline = Date.now() + 60_000;
  for (;;) {
    try {
      return await jetstreamManager(nc, { timeout: API_TIMEOUT_MS });
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await sleep(500);
    }
  }
}
