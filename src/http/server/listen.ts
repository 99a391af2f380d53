import { once } from 'node:events';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createAdaptorServer, type HttpBindings } from '@hono/node-server';
import type { HttpApp } from './context.ts';
import { closingEarly } from './early-answer.ts';
import { oneAtATime } from './pipelining.ts';
import { closeStalled } from './stalled.ts';

const DRAIN_MS = 5_000;
/** How long a caller may read nothing of its answer. */
const STALLED_MS = 120_000;

const LIMITS = {
  // Node's default cuts any request that takes over five minutes, and an upload may; body.ts cuts one that falls asleep.
  requestTimeout: 0,
  headersTimeout: 20_000,
  maxHeaderSize: 16 * 1024,
  connectionsCheckingInterval: 5_000,
};

export interface ListenOptions {
  hostname: string;
  port: number;
  stalledMs?: number;
}

/** Serves the app; `close` lets running requests end for five seconds. @throws {Error} where the address is taken */
export async function listen(app: HttpApp, { hostname, port, stalledMs = STALLED_MS }: ListenOptions) {
  const fetch = closingEarly(oneAtATime(app.fetch));
  // The adapter closes after an early answer, too, but not after that of a GET with a body.
  const server = createAdaptorServer({
    fetch: (request, env) => fetch(request, env as HttpBindings),
    serverOptions: LIMITS,
    autoCleanupIncoming: false,
  }) as Server;
  server.listen(port, hostname);
  await once(server, 'listening');
  closeStalled(server, stalledMs);
  const { port: actual } = server.address() as AddressInfo;
  const host = hostname.includes(':') ? `[${hostname}]` : hostname;
  return { url: `http://${host}:${actual}`, close };

  async function close(): Promise<void> {
    const closed = once(server, 'close');
    server.close();
    // A connection is idle once its running request is answered, so it is looked at again and again.
    const idle = setInterval(() => server.closeIdleConnections(), 50);
    const timer = setTimeout(() => server.closeAllConnections(), DRAIN_MS);
    server.closeIdleConnections();
    await closed;
    clearInterval(idle);
    clearTimeout(timer);
  }
}
