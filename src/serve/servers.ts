import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import type { Logger } from 'pino';
import { EVENT_VERSIONS } from '../domain/events.ts';
import type { Nats } from '../log/connection.ts';
import { announceServer, type Servers, watchServers } from '../log/servers.ts';
import type { Opened } from './parts.ts';

export interface OwnServers extends Pick<Servers, 'all' | 'unableToRead'> {
  /** Announces this server under the URL on which it listens. */
  announce(address: string): void;
}

/**
 * Follows the other servers of the log. Start it before what reads the log: all is closed in reverse, and this server
 * must be announced as long as it reads.
 */
export function startServers(
  { nats, log, version, now = () => new Date() }: { nats: Nats; log: Logger; version: string; now?(): Date },
  opened: Opened,
): OwnServers {
  const { all, unableToRead, close } = watchServers(nats, { log });
  const self = { server: randomUUID(), version, host: hostname(), pid: process.pid };
  const started_at = now().toISOString();
  let announced: { close(): Promise<void> } | undefined;
  opened(async () => {
    await announced?.close();
    await close();
  });
  return {
    all,
    unableToRead,
    announce(address) {
      announced ??= announceServer(nats, { ...self, address, started_at, reads: EVENT_VERSIONS }, { log });
    },
  };
}
