import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Fetch } from './context.ts';

/** How long a caller that is still sending can read its answer. */
const LINGER_MS = 2_000;

/**
 * Closes the connection after a request that is answered before its body has ended. The rest is not read, and a caller
 * that sends it slowly would keep the connection open without a limit.
 */
export function closingEarly(fetch: Fetch): Fetch {
  return (request, env) => (hasBody(env.incoming) ? answer(request, env) : fetch(request, env));

  async function answer(...[request, env]: Parameters<Fetch>): Promise<Response> {
    const { incoming, outgoing } = env;
    const response = await fetch(request, env);
    // A small body often arrives with the head, but Node parses it after the handler has begun.
    if (!incoming.complete) await new Promise(setImmediate);
    if (incoming.complete) outgoing.once('finish', () => incoming.resume());
    else closeAfter(incoming, outgoing as ServerResponse);
    return response;
  }
}

function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}

function closeAfter(incoming: IncomingMessage, outgoing: ServerResponse): void {
  // Node calls it after an answer with "Connection: close".
  incoming.socket.destroySoon = () => linger(incoming);
  if (outgoing.headersSent) outgoing.once('finish', () => linger(incoming));
  else outgoing.setHeader('Connection', 'close');
}

/**
 * Ends our side and keeps reading for a moment. Closing at once would reset the connection, and the caller could lose
 * an answer that it has not read yet (RFC 9112, section 9.6).
 */
function linger(incoming: IncomingMessage): void {
  const { socket } = incoming;
  socket.end();
  incoming.resume();
  const timer = setTimeout(() => socket.destroy(), LINGER_MS);
  socket.once('close', () => clearTimeout(timer));
}
