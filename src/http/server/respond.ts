import type { ServerResponse } from 'node:http';
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import type { Services } from '../services.ts';
import { corsHeaders, securityHeaders } from './browser.ts';
import type { HttpContext } from './context.ts';
import type { Exchange } from './exchange.ts';
import type { Reply } from './route.ts';

/** Returns the stage that makes the response of a reply. */
export function responder(services: Services) {
  const { corsOrigins } = services;
  const always = {
    ...securityHeaders(services.publicUrl),
    'Cache-Control': 'no-cache',
    'Content-Type': 'application/json',
  };

  return ({ c, request_id, model, headers: learned }: Exchange, reply: Reply): Response => {
    const { status = 200, body = null, stream } = reply;
    const headers: Record<string, string> = {
      ...always,
      'X-Request-Id': request_id,
      'Registry-Revision': services.revision(),
      ...learned,
      ...reply.headers,
    };
    if (corsOrigins.length > 0) Object.assign(headers, corsHeaders(c.req.header('origin'), corsOrigins));
    if (services.stale() || isFrozen(model)) headers['Registry-Stale'] = 'true';
    return stream ? streamed(c, status, headers, stream) : new Response(body, { status, headers });
  };

  function isFrozen(model: string | undefined): boolean {
    return model !== undefined && services.readModel.frozen(model) !== null;
  }
}

/** Writes to Node's response directly: the adapter would keep a web stream for each of the many long responses. */
function streamed(c: HttpContext, status: number, headers: Record<string, string>, stream: Reply['stream'] & {}) {
  const { incoming } = c.env;
  const outgoing = c.env.outgoing as ServerResponse;
  outgoing.writeHead(status, headers);
  // Sent separately, the head becomes one string. Otherwise the dozens of strings that it consists of stay in memory.
  outgoing.flushHeaders();
  // The adapter's listener keeps the whole request, to abort a signal that nothing uses.
  outgoing.removeAllListeners('close');
  incoming.rawHeaders.length = 0;
  incoming.headers = {};
  stream(outgoing);
  return RESPONSE_ALREADY_SENT;
}
