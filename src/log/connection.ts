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

/** `nats://[user:pass@]host:port[,host:port…]`, `tls://` alike, as `NATS_URL` has it. @throws {TypeError} no such URL */
export function parseNatsUrl(text: string): NatsAddress {
  const [scheme] = /^(nats|tls):\/\//.exec(text) ?? [];
  // The text is not named: it may hold a password.
  if (!scheme) throw new TypeError('A NATS URL must begin with nats:// or tls://.');
  const urls = text.split(',').map((part) => new URL(part.includes('://') ? part.trim() : scheme + part.trim()));
  if (!urls.every(({ host, protocol }) => host !== '' && `${protocol}//` === scheme)) {
    throw new TypeError(`Every server of a NATS URL must have a host, and ${scheme} like the first.`);
  }
  const user = decodeURIComponent(urls[0]!.username);
  const servers = urls.map(({ host }) => scheme + host);
  return { servers, ...(user && { user, pass: decodeURIComponent(urls[0]!.password) }) };
}

/**
 * Connects and never gives up, unless the signal aborts, nor gives up reconnecting: the client's default closes the
 * connection for good after some 20 seconds, and notices a half-open one only after minutes.
 *
 * @throws {Error} where the server is older than any that keeps what it acknowledges
 */
export async function connectNats(address: NatsAddress, name: string, signal?: AbortSignal): Promise<Nats> {
  // The client has no other way to be told to stop while it has no connection yet.
  const reconnectToServer = () => {
    signal?.throwIfAborted();
    return null; // whichever is next
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

/** Connects at once or not at all, trying each server once, for who asks why it does not work. @throws why */
export function connectOnce(address: NatsAddress): Promise<NatsConnection> {
  const once = { waitOnFirstConnect: false, reconnect: false, timeout: API_TIMEOUT_MS };
  return connect({ ...options(address), ...once, name: 'signalbox set-up' });
}

function options({ servers, user, pass }: NatsAddress): ConnectionOptions {
  return {
    servers,
    ...(user !== undefined && { user, pass: pass ?? '' }),
    // The client reads no scheme: without this it would send the password in the clear to a server without TLS.
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
 * 2.10.20 to 2.10.22 lost whole streams to a process crash (nats-server#6888), and 2.9 breaks compare-and-set.
 *
 * @throws {Error} for a version older than 2.10.23
 */
export function checkVersion(version: string): void {
  if (semver.gte(version, MINIMUM_NATS)) return;
  throw new Error(`nats-server ${version} is too old: Signalbox needs ${MINIMUM_NATS} or newer.`);
}

/** A cluster without a meta leader answers "temporarily unavailable": it is asked again for a while. */
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
