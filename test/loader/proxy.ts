import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { onTestFinished } from 'vitest';
import type { Ends } from '../support/folder.ts';

/** A change of one response. */
export interface Tampering {
  /** A response in place of the registry's, which gets no request. */
  instead?: { status: number; body: string; type?: string; location?: string };
  /** Ends the connection after this many bytes of the body. */
  cut?: number;
  /** Replaces the address of a redirect. */
  location?: (address: string) => string;
  /** Changes the whole body. */
  alter?: (body: Buffer) => Uint8Array;
  /** Holds the response back until it resolves. */
  after?: Promise<unknown>;
  /** Sends the head and then nothing. */
  silent?: boolean;
}

/** A request that the proxy got. */
export interface Seen {
  method: string;
  path: string;
  headers: IncomingHttpHeaders;
  /** Status of the response; null before that. */
  status: number | null;
  /** Bytes of the body that were passed on. */
  bytes: number;
}

/** A faulty proxy between a loader and its registry, or a storage. */
export interface HttpProxy {
  url: string;
  /** The server's address; null cuts it off. */
  target: string | null;
  tamper(seen: Seen): Tampering | null | undefined;
  requests: Seen[];
  /** Ends every connection. */
  cut(): void;
  /** Stalls all responses that have begun, without closing them. */
  silence(): void;
}

export const isStream = ({ headers }: Seen) => headers.accept === 'text/event-stream';
export const isPoll = ({ path, headers }: Seen) => path.includes('/events') && headers.accept === 'application/json';
export const isFile = (name: string) => (seen: Seen) => seen.path.endsWith(`/files/${name}`);

/** Applies a change to some requests. */
export function to(which: (seen: Seen) => boolean, tampering: Tampering) {
  return (seen: Seen) => (which(seen) ? tampering : null);
}

/** Starts a proxy on a free port; it is closed when the test ends. */
export async function startProxy(target: string | null, ends: Ends = onTestFinished): Promise<HttpProxy> {
  let silenced = Symbol();
  const proxy: HttpProxy = {
    url: '',
    target,
    tamper: () => null,
    requests: [],
    cut: () => server.closeAllConnections(),
    silence() {
      silenced = Symbol();
    },
  };
  const server = createServer(async (incoming, outgoing) => {
    const { method = '', url = '', headers } = incoming;
    const seen: Seen = { method, path: url, headers, status: null, bytes: 0 };
    proxy.requests.push(seen);
    const tampering = proxy.tamper(seen) ?? {};
    if (tampering.instead) {
      const { status, body, type = 'text/html', location } = tampering.instead;
      seen.status = status;
      outgoing.writeHead(status, { 'Content-Type': type, ...(location && { Location: location }) }).end(body);
      return;
    }
    const drop = () => void outgoing.destroy();
    if (proxy.target === null) return drop();
    const forwarded = request(new URL(url, proxy.target), { method, headers });
    outgoing.on('close', () => forwarded.destroy());
    forwarded.on('error', drop);
    forwarded.on('response', async (answer) => {
      seen.status = answer.statusCode!;
      answer.on('error', drop);
      await tampering.after;
      if (outgoing.destroyed) return;
      if (tampering.alter) {
        const body = Buffer.from(tampering.alter(Buffer.concat(await answer.toArray())));
        outgoing.writeHead(seen.status, { ...answer.headers, 'content-length': body.length }).end(body);
        return;
      }
      const { location } = answer.headers;
      const moved = location && tampering.location ? { location: tampering.location(location) } : {};
      outgoing.writeHead(seen.status, { ...answer.headers, ...moved }).flushHeaders();
      await pass(answer, outgoing, seen, tampering, silenced);
    });
    incoming.pipe(forwarded);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  ends(async () => {
    server.close();
    server.closeAllConnections();
  });
  proxy.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return proxy;

  async function pass(
    body: AsyncIterable<Uint8Array>,
    outgoing: ServerResponse,
    seen: Seen,
    { cut = Number.POSITIVE_INFINITY, silent = false }: Tampering,
    since: symbol,
  ): Promise<void> {
    let passed = 0;
    try {
      for await (const chunk of body) {
        if (silent || silenced !== since) continue;
        const part = chunk.subarray(0, cut - passed);
        passed += part.length;
        seen.bytes = passed;
        // Everything is sent before the connection is destroyed.
        await new Promise<void>((resolve) => outgoing.write(part, () => resolve()));
        if (passed >= cut) break;
      }
    } catch {
      outgoing.destroy();
    }
    if (passed >= cut) outgoing.destroy();
    else if (!silent && silenced === since) outgoing.end();
  }
}
