import { type AccessRequest, allows } from '../../access/policy.ts';
import { Problem } from '../../domain/errors.ts';
import type { Caller } from '../caller/caller.ts';
import type { Services } from '../services.ts';
import { authenticator } from './authenticate.ts';
import { authorizer } from './authorize.ts';
import { readJson } from './body.ts';
import type { HttpContext } from './context.ts';
import { beginExchange, type Exchange } from './exchange.ts';
import { type Address, addressReader, check } from './input.ts';
import { requestLogger } from './log-request.ts';
import { MIN_REVISION } from './min-revision.ts';
import { problemReply } from './problem.ts';
import { responder } from './respond.ts';
import type { Reply, Route } from './route.ts';

/**
 * Returns the handler of a route's requests: authenticate, limit, authorize, check, wait for a revision, handle, log,
 * respond.
 *
 * Most requests repeat a read of a known caller. They are answered without a promise: the adapter then writes the
 * response at once.
 */
export function answering(route: Route, services: Services) {
  const authenticate = authenticator(route, services);
  const authorize = authorizer(route, services);
  const readAddress = addressReader(route);
  const count = services.metrics.requests(route.method, route.path);
  const logRequest = requestLogger(route, services);
  const respond = responder(services);
  const asksReadModel = ![null, 'identified', 'keys'].includes(route.permission);

  return (c: HttpContext): Response | Promise<Response> => {
    const exchange = beginExchange(c);
    const reply = handleOrRefuse(exchange);
    return reply instanceof Promise ? reply.then((settled) => finish(exchange, settled)) : finish(exchange, reply);
  };

  /** Turns any error into a problem document. Serializing is included: what a handler returns may have no JSON. */
  function handleOrRefuse(exchange: Exchange): Reply | Promise<Reply> {
    const refuse = (error: unknown) => {
      exchange.failure = error;
      return problemReply(error, exchange.request_id);
    };
    try {
      const reply = handle(exchange);
      return reply instanceof Promise ? reply.then(serialized).catch(refuse) : serialized(reply);
    } catch (error) {
      return refuse(error);
    }
  }

  function handle(exchange: Exchange): Reply | Promise<Reply> {
    const caller = authenticate(exchange);
    if (caller instanceof Promise || route.body) return handleLater(exchange, caller);
    return answer(exchange, caller, checkAddress(exchange, caller), undefined);
  }

  async function handleLater(exchange: Exchange, identified: Caller | Promise<Caller>): Promise<Reply> {
    const caller = await identified;
    const address = checkAddress(exchange, caller);
    const body = route.body && check(route.body, await readJson(exchange.c), 'body');
    authorize(caller, address.params, body);
    return answer(exchange, caller, address, body);
  }

  /**
   * Handles a request, after the revision that it waits for, if there is one. A read model that is made anew, or follows a
   * restored log, lacks models until it is complete.
   */
  function answer(exchange: Exchange, caller: Caller, address: Address, body: unknown): Reply | Promise<Reply> {
    if (asksReadModel && !services.complete()) {
      throw new Problem('log-unavailable', 'The registry is reading its log from the start. Try again.');
    }
    const request = requestOf(exchange, caller, address, body);
    const revision = route.permission === null ? undefined : exchange.c.req.header(MIN_REVISION);
    const reached = revision === undefined ? null : services.awaitRevision(revision);
    const handled = () => {
      // A list is read in another thread: the log may go on before it is answered.
      if (route.method === 'GET') exchange.headers['Registry-Revision'] = services.revision();
      return route.handle(request, services);
    };
    return reached ? reached.then(handled) : handled();
  }

  /** Parses path and query, and authorizes twice: a caller without the permission does not learn what else is wrong. */
  function checkAddress(exchange: Exchange, caller: Caller): Address {
    authorize(caller);
    const address = readAddress(exchange.c, (params) => authorize(caller, params));
    const { model, version } = address.params as { model?: string; version?: string };
    exchange.model = model;
    exchange.version = version;
    authorize(caller, address.query, address.params);
    return address;
  }

  function requestOf({ c, request_id }: Exchange, caller: Caller, { params, query }: Address, body: unknown) {
    const may = (wanted: AccessRequest) => allows(services.policy, caller, wanted);
    return { c, params, query, body, actor: caller.actor, identity: caller, request_id, may };
  }

  function finish(exchange: Exchange, reply: Reply): Response | Promise<Response> {
    count(reply.status ?? 200);
    logRequest(exchange, reply);
    const renewed = exchange.session && services.sessions.renew(exchange.session);
    if (!renewed) return respond(exchange, reply);
    return renewed.then((cookie) => {
      exchange.headers['Set-Cookie'] = cookie;
      return respond(exchange, reply);
    });
  }
}

function serialized(reply: Reply): Reply {
  return reply.json === undefined ? reply : { ...reply, body: JSON.stringify(reply.json) };
}
