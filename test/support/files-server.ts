import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';

const pem = (name: string) => readFileSync(join(import.meta.dirname, `certificate/${name}.pem`), 'utf8');

/** What a client must trust to read from `startFilesServer`, as text and as a file. */
export const CA = pem('certificate');
export const CA_FILE = join(import.meta.dirname, 'certificate/certificate.pem');

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

/** An HTTPS server on loopback that serves these files, with ETags and ranges, and records each request and connection. */
export interface FilesServer {
  port: number;
  files: Map<string, { bytes: Buffer; etag: string | null }>;
  /** Answers a path in another way. */
  handlers: Map<string, Handler>;
  requests: IncomingMessage[];
  connections(): number;
}

export async function startFilesServer(): Promise<FilesServer> {
  const files: FilesServer['files'] = new Map();
  const handlers: FilesServer['handlers'] = new Map();
  const requests: IncomingMessage[] = [];
  let connections = 0;
  const server = createServer({ key: pem('key'), cert: CA }, (request, response) => {
    requests.push(request);
    const handler = handlers.get(request.url!);
    if (handler) return handler(request, response);
    const file = files.get(request.url!);
    if (!file) return void response.writeHead(404).end('nothing here');
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? [];
    const bytes = first === undefined ? file.bytes : file.bytes.subarray(+first, +last! + 1);
    response.writeHead(first === undefined ? 200 : 206, {
      'Content-Length': bytes.length,
      ...(file.etag && { ETag: file.etag }),
      ...(first !== undefined && { 'Content-Range': `bytes ${first}-${last}/${file.bytes.length}` }),
    });
    response.end(bytes);
  });
  server.on('connection', () => connections++);
  server.on('tlsClientError', () => {}); // a client that left
  await once(server.listen(0, '127.0.0.1'), 'listening');
  onTestFinished(async () => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { port, files, handlers, requests, connections: () => connections };
}
