import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { onTestFinished } from 'vitest';

/** What is done to one answer. */
export interface Tampering {
  /** Said in the registry's place, which is not asked. */
  instead?: { status: number; body: string; type?: string };
  /** The connection ends after so many bytes of the body. */
  cut?: number;
  /** The whole body, changed. */
  alter?: (body: Buffer) => Uint8Array;
  /** Nothing is passed on before it resolves. */
  after?: Promise<unknown>;
  /** The head comes, and then nothing, for ever. */
  silent?: boolean;
}

/** A request as the proxy saw it. */
export interface Seen {
  method: string;
  path: string;
  headers: IncomingHttpHeaders;
  /** Of the answer, once it is there. */
  status: number | null;
}

/** Stands between a loader and its registry, and is not to be trusted. */
export interface HttpProxy {
  url: string;
  /** The registry's address, which may change; null while there is none. */
  target: string | null;
  tamper(seen: Seen): Tampering | null | undefined;
  requests: Seen[];
  /** Ends every connection. */
  cut(): void;
  /** Answers that have begun carry no byte any more, and nobody is told. */
  silence(): void;
}

export const isStream = ({ headers }: Seen) => headers.accept === 'text/event-stream';
export const isPoll = ({ path, headers }: Seen) => path.includes('/events') && headers.accept === 'application/json';
export const isFile = (name: string) => (seen: Seen) => seen.path.endsWith(`/files/${name}`);

/** Does it to some requests, and nothing to the others. */
export function to(which: (seen: Seen) => boolean, tampering: Tampering) {
  return (seen: Seen) => (which(seen) ? tampering : null);
}

/** A proxy on a free port; it ends with the test. */
export async function startProxy(target: string | null): Promise<HttpProxy> {
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
    const seen: Seen = { method, path: url, headers, status: null };
    proxy.requests.push(seen);
    const tampering = proxy.tamper(seen) ?? {};
    if (tampering.instead) {
      const { status, body, type = 'text/html' } = tampering.instead;
      seen.status = status;
      outgoing.writeHead(status, { 'Content-Type': type }).end(body);
      return;
    }
    const gone = () => void outgoing.destroy();
    if (proxy.target === null) return gone();
    const asked = request(new URL(url, proxy.target), { method, headers });
    outgoing.on('close', () => asked.destroy());
    asked.on('error', gone);
    asked.on('response', async (answer) => {
      seen.status = answer.statusCode!;
      answer.on('error', gone);
      await tampering.after;
      if (outgoing.destroyed) return;
      if (tampering.alter) {
        const body = Buffer.from(tampering.alter(Buffer.concat(await answer.toArray())));
        outgoing.writeHead(seen.status, { ...answer.headers, 'content-length': body.length }).end(body);
        return;
      }
      outgoing.writeHead(seen.status, answer.headers).flushHeaders();
      await pass(answer, outgoing, tampering, silenced);
    });
    incoming.pipe(asked);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  proxy.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return proxy;

  async function pass(
    body: AsyncIterable<Uint8Array>,
    outgoing: ServerResponse,
    { cut = Number.POSITIVE_INFINITY, silent = false }: Tampering,
    since: symbol,
  ): Promise<void> {
    let passed = 0;
    try {
      for await (const chunk of body) {
        if (silent || silenced !== since) continue;
        const part = chunk.subarray(0, cut - passed);
        passed += part.length;
        // All of it has left before the connection is torn down.
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
