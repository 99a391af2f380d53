import { once } from 'node:events';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createAdaptorServer, type HttpBindings } from '@hono/node-server';
import type { HttpApp } from './context.ts';
import { closingEarly } from './early-answer.ts';
import { oneAtATime } from './pipelining.ts';
import { closeStalled } from './stalled.ts';

const DRAIN_MS = 5_000;
/** How long a caller can read nothing of its answer. */
const STALLED_MS = 120_000;

const LIMITS = {
  // Node's default ends requests after five minutes, and an upload may take longer; body.ts ends one that stalls.
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

/** Serves the app; `close` waits up to 5 s for running requests. @throws {Error} if the address is in use */
export async function listen(app: HttpApp, { hostname, port, stalledMs = STALLED_MS }: ListenOptions) {
  const fetch = closingEarly(oneAtATime(app.fetch));
  // The adapter's own clean-up after early answers leaves out a GET with a body.
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
    // A connection becomes idle when its request is answered, so this is repeated.
    const idle = setInterval(() => server.closeIdleConnections(), 50);
    const timer = setTimeout(() => server.closeAllConnections(), DRAIN_MS);
    server.closeIdleConnections();
    await closed;
    clearInterval(idle);
    clearTimeout(timer);
  }
}
