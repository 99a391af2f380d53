import type { ServerResponse } from 'node:http';
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import type { Permission } from '../../access/permissions.ts';
import { allows, type Identity, type Wish } from '../../access/policy.ts';
import type { Session } from '../../access/sessions.ts';
import { Problem } from '../../domain/errors.ts';
import type { Caller } from '../caller/caller.ts';
import { identify } from '../caller/identify.ts';
import type { Services } from '../services.ts';
import { readJson } from './body.ts';
import { corsHeaders, securityHeaders } from './browser.ts';
import type { HttpContext } from './context.ts';
import { addressReader, check } from './input.ts';
import { problemReply } from './problem.ts';
import { requestId } from './request-id.ts';
import type { Reply, Route } from './route.ts';

const SAMPLED = 100;

/** Answers a route's requests: identifies, checks, handles, tells any refusal as a problem document, and logs. */
export function answering(route: Route, services: Services) {
  const readAddress = addressReader(route);
  const needed = route.permission === 'identified' ? null : route.permission;
  // What comes over and over by itself: one in so many is logged, and every refusal.
  const frequent = route.method === 'GET' || route.permission === 'report';
  let answered = 0;
  const count = services.metrics.requests(route.method, route.path);
  const cors = services.corsOrigins.length > 0;
  const always = {
    ...securityHeaders(services.publicUrl),
    'Cache-Control': 'no-cache',
    'Content-Type': 'application/json',
  };

  return async (c: HttpContext): Promise<Response> => {
    const started = performance.now();
    const request_id = requestId(c);
    const known: Known = { request_id, actor: 'anonymous', headers: {} };
    let reply: Reply;
    try {
      const handled = handle(c, known);
      // As text within reach of the refusals: what a handler made may turn out to have no JSON.
      reply = serialized(handled instanceof Promise ? await handled : handled);
    } catch (error) {
      known.failure = error;
      reply = problemReply(error, request_id);
    }
    const { status = 200 } = reply;
    count(status);
    if (!frequent || status >= 400 || answered++ % SAMPLED === 0) logRequest(c, reply, known, started);
    const renewed = known.session && services.sessions.renew(known.session);
    if (renewed) known.headers['Set-Cookie'] = await renewed;
    return respond(c, reply, known);
  };

  /** Without a promise where there is nothing to wait for: most of the requests are the same read again. */
  function handle(c: HttpContext, known: Known): Reply | Promise<Reply> {
    const met = (caller: Caller) => meet(c, known, caller);
    const identity = route.permission ? identify(c, services, met) : ANONYMOUS;
    if (!route.permission) met(ANONYMOUS);
    if (identity instanceof Promise || route.body) return handleSlowly(c, known, identity);
    const named = identified(c, known, identity);
    return route.handle({ c, ...named, ...whoAsks(known, identity), body: undefined }, services);
  }

  async function handleSlowly(c: HttpContext, known: Known, asked: Caller | Promise<Caller>): Promise<Reply> {
    const identity = await asked;
    const named = identified(c, known, identity);
    const body = route.body && check(route.body, await readJson(c), 'body');
    if (needed) authorize(identity, wishOf(needed, named.params, body));
    return route.handle({ c, ...named, ...whoAsks(known, identity), body }, services);
  }

  /** What the address says, once it is known that the caller may ask for it. */
  function identified(c: HttpContext, known: Known, identity: Caller) {
    // First of all whether it could be allowed at all: who may do nothing here learns nothing of what is wrong.
    if (needed) authorize(identity, { permission: needed });
    const named = readAddress(c);
    const { model, version } = named.params as { model?: string; version?: string };
    Object.assign(known, { model, version });
    if (needed) authorize(identity, wishOf(needed, named.query, named.params));
    return named;
  }

  function whoAsks({ request_id }: Known, identity: Caller) {
    const may = (wish: Wish) => allows(services.policy, identity, wish);
    return { actor: identity.actor, identity, request_id, may };
  }

  /** Notes who calls, and takes one of the caller's requests, or of the address's without a caller. @throws {Problem} */
  function meet(c: HttpContext, known: Known, identity: Caller): void {
    known.actor = identity.actor;
    if ('session' in identity) known.session = identity;
    const { limiter, callerAddress } = services;
    if (!limiter) return;
    const taken = limiter.take(identity === ANONYMOUS ? `from ${callerAddress(c)}` : `by ${identity.actor}`);
    const { quota, window } = limiter;
    // draft-ietf-httpapi-ratelimit-headers-11
    known.headers.RateLimit = `"requests";r=${taken.remaining};t=${taken.reset}`;
    if (taken.allowed) return;
    known.headers['RateLimit-Policy'] = `"requests";q=${quota};w=${window}`;
    const detail = `${identity.actor} may send ${quota} requests in ${window} s; the next in ${taken.reset} s.`;
    throw new Problem('too-many-requests', detail, { retry_after: taken.reset });
  }

  /** What the request names, in its path, its query or its body. */
  function wishOf(permission: Permission, ...said: unknown[]): Wish {
    const { model, environment } = Object.assign({}, ...said) as { model?: string; environment?: string };
    return { permission, model, environment };
  }

  /** @throws {Problem} forbidden */
  function authorize(identity: Identity, wish: Wish): void {
    if (allows(services.policy, identity, wish)) return;
    const { permission, model, environment } = wish;
    const where = `${model === undefined ? '' : ` for ${model}`}${environment === undefined ? '' : ` in ${environment}`}`;
    throw new Problem('forbidden', `This takes the permission ${permission}${where}, which you do not have.`, {
      permission,
    });
  }

  function logRequest(c: HttpContext, reply: Reply, known: Known, started: number): void {
    const { request_id, actor, model, version, failure } = known;
    const { status = 200 } = reply;
    const latency_ms = Math.round((performance.now() - started) * 1000) / 1000;
    const result = failure instanceof Problem ? failure.code : status >= 500 ? 'internal' : 'ok';
    const asked = { request_id, actor, method: c.req.method, path: c.req.path };
    const written = { event_type: route.event_type, model, version, ...reply.log };
    const line = { ...asked, status, result, latency_ms, ...written };
    if (status >= 500) services.log.error({ ...line, err: failure }, 'request');
    else services.log.info(line, 'request');
  }

  function respond(c: HttpContext, reply: Reply, { request_id, model, headers: learnt }: Known): Response {
    const { status = 200, body = null, headers, stream } = reply;
    const all: Record<string, string> = {
      ...always,
      'X-Request-Id': request_id,
      'Registry-Revision': services.revision(),
      ...learnt,
      ...headers,
    };
    if (cors) Object.assign(all, corsHeaders(c.req.header('origin'), services.corsOrigins));
    if (services.stale() || isFrozen(model)) all['Registry-Stale'] = 'true';
    if (stream) return streamed(c, status, all, stream);
    return new Response(body, { status, headers: all });
  }

  /** A model whose log cannot be followed is served as it was before. */
  function isFrozen(model: string | undefined): boolean {
    return model !== undefined && services.registry().models.get(model)?.frozen != null;
  }
}

function serialized(reply: Reply): Reply {
  return reply.json === undefined ? reply : { ...reply, body: JSON.stringify(reply.json) };
}

/** Answers past the adapter, which would keep a web stream for each; what goes on for minutes keeps little else, either. */
function streamed(
  c: HttpContext,
  status: number,
  headers: Record<string, string>,
  stream: NonNullable<Reply['stream']>,
) {
  const { incoming } = c.env;
  const outgoing = c.env.outgoing as ServerResponse;
  outgoing.writeHead(status, headers);
  // Sent by itself the head becomes one text; otherwise the dozens of pieces that it was made of stay.
  outgoing.flushHeaders();
  // The adapter would keep the request, to abort a signal of it that nobody has.
  outgoing.removeAllListeners('close');
  incoming.rawHeaders.length = 0;
  incoming.headers = {};
  stream(outgoing);
  return RESPONSE_ALREADY_SENT;
}

/** What becomes known of a request while it is answered. */
interface Known {
  request_id: string;
  actor: string;
  session?: Session;
  model?: string | undefined;
  version?: string | undefined;
  failure?: unknown;
  /** What is told with any answer. */
  headers: Record<string, string>;
}

const ANONYMOUS: Caller = { actor: 'anonymous', role: null, groups: [] };
