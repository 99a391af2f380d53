import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { onTestFinished } from 'vitest';
import type { Ends } from './folder.ts';

/** A proxy in front of an object storage that answers some requests wrongly. */
export interface FaultyStore {
  endpoint: string;
  /** Every request so far, such as `PUT /models/key?partNumber=1`. */
  requests: string[];
  /** The number of requests in progress. */
  open(): number;
  /** Applies a fault to the next `times` requests that match. */
  inject(requests: RegExp, fault: Fault, times?: number): void;
  /** Removes all faults. */
  heal(): void;
}

/** Answers a request. `forward` sends it to the storage, and its answer to the caller or to `relay`. */
export type Fault = (request: IncomingMessage, response: ServerResponse, forward: Forward) => void;
type Forward = (relay?: (answer: IncomingMessage) => void) => void;

/** Answers with an error of S3. */
export function answer(status: number, code: string): Fault {
  return (request, response) => {
    const body = `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>injected</Message></Error>`;
    request.resume().on('end', () => {
      response.writeHead(status, { 'Content-Type': 'application/xml' });
      response.end(request.method === 'HEAD' ? undefined : body);
    });
  };
}

/** Reads the request, and does not answer. */
export const stall: Fault = (request) => void request.resume();

/** Answers, and stops after some bytes of the body. */
export const stallAfter = (bytes: number): Fault => sendThen(bytes, () => {});

/** Answers, and resets the connection after some bytes of the body. */
export const cutAfter = (bytes: number): Fault => sendThen(bytes, ({ socket }) => socket?.resetAndDestroy());

/** Resets the connection when a part of the request has arrived. */
export const cutUpload: Fault = (request) => request.once('data', () => request.socket.resetAndDestroy());

/** Lets the storage do it, and resets the connection instead of answering. */
export const loseAnswer: Fault = (request, _, forward) =>
  forward((answer) => answer.resume().on('end', () => request.socket.resetAndDestroy()));

/** Changes a header of a successful answer. */
export function alter(header: string, value: (given: string) => string): Fault {
  return (_, response, forward) =>
    forward((answer) => {
      const given = answer.headers[header];
      if (given !== undefined && answer.statusCode === 200) answer.headers[header] = value(String(given));
      send(answer, response);
    });
}

function sendThen(bytes: number, end: (response: ServerResponse) => void): Fault {
  return (_, response, forward) =>
    forward((answer) => {
      response.writeHead(answer.statusCode!, answer.headers).flushHeaders();
      let left = bytes;
      answer.on('data', (chunk: Buffer) => {
        const piece = chunk.subarray(0, left);
        left -= piece.length;
        const isFinal = piece.length < chunk.length;
        if (piece.length > 0 || isFinal) response.write(piece, () => isFinal && end(response));
        if (isFinal) answer.destroy();
      });
    });
}

/** Starts a proxy to a storage, until the test ends. */
export async function startFaultyStore(target: string, ends: Ends = onTestFinished): Promise<FaultyStore> {
  const { hostname, port } = new URL(target);
  const faults: { requests: RegExp; fault: Fault; left: number }[] = [];
  const requests: string[] = [];
  let open = 0;
  const server = createServer((incoming, response) => {
    const line = `${incoming.method} ${incoming.url}`;
    requests.push(line);
    open++;
    response.on('close', () => open--);
    incoming.on('error', () => {}); // the caller left
    const found = faults.find(({ requests, left }) => left > 0 && requests.test(line));
    if (found) found.left--;
    const fault = found?.fault ?? ((_request, _response, forward: Forward) => forward());
    fault(incoming, response, (relay = (answer) => send(answer, response)) => {
      const { method, url: path, headers } = incoming; // with its Host, which the signature covers
      const outgoing = request({ hostname, port, method, path, headers, agent: false }, relay);
      outgoing.on('error', () => response.destroy());
      response.on('close', () => outgoing.destroy());
      incoming.pipe(outgoing);
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  ends(async () => {
    server.close();
    server.closeAllConnections();
  });
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    open: () => open,
    inject: (requests, fault, times = 1) => void faults.push({ requests, fault, left: times }),
    heal: () => void faults.splice(0),
  };
}

function send(answer: IncomingMessage, response: ServerResponse): void {
  answer.on('error', () => response.destroy());
  answer.pipe(response.writeHead(answer.statusCode!, answer.headers));
}
