import { parse as parseQuery } from 'node:querystring';
import type { HttpBindings } from '@hono/node-server';
import type { Context, Hono } from 'hono';
import type { z } from 'zod';
import { mayDo, type Permission } from '../access/permissions.ts';
import { Problem, type ProblemCode } from '../domain/errors.ts';
import { readJson } from './body.ts';
import { problemReply } from './problem.ts';
import type { Services } from './services.ts';

export type HttpContext = Context<{ Bindings: HttpBindings }>;
export type HttpApp = Hono<{ Bindings: HttpBindings }>;
export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH';

/** What a handler answers: `json`, or a `body` as it is. `log` goes into the request's log line. */
export interface Reply {
  status?: number;
  headers?: Record<string, string>;
  json?: unknown;
  body?: string | Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array> | null;
  log?: Record<string, unknown>;
}

/** A request whose path, query and body have the shape that the route asks for. */
export interface Request<P, Q, B> {
  c: HttpContext;
  params: P;
  query: Q;
  body: B;
  /** Who calls; `anonymous` where the route asks for no permission. */
  actor: string;
  request_id: string;
}

type Shape = z.ZodType;

/** One route: everything that is asked, checked, documented and logged about it, and what answers it. */
export interface Route<P extends Shape = Shape, Q extends Shape = Shape, B extends Shape = Shape> {
  method: Method;
  /** As Hono has it; `:path{.+}` takes slashes too. */
  path: string;
  permission: Permission | null;
  summary: string;
  params?: P;
  query?: Q;
  body?: B;
  /** Where the handler reads the body itself: its media types, with the schema of what they mean, for the documentation. */
  rawBody?: Record<string, z.ZodType | null>;
  /** Of a success; a media type where it is not JSON. */
  answer: { status: number; schema?: z.ZodType; type?: string };
  errors: readonly ProblemCode[];
  handle(request: Request<z.output<P>, z.output<Q>, z.output<B>>, services: Services): Reply | Promise<Reply>;
}

/** Gives a route the types of its own schemas. */
export function route<P extends Shape, Q extends Shape, B extends Shape>(definition: Route<P, Q, B>): Route {
  return definition as unknown as Route;
}

const SAMPLED_READS = 100;

/** Answers a route's requests: identifies, checks, handles, and tells any refusal as a problem document. */
export function answering(route: Route, services: Services) {
  let reads = 0;
  return async (c: HttpContext): Promise<Response> => {
    const started = performance.now();
    const request_id = requestId(c);
    let actor = 'anonymous';
    let reply: Reply;
    let failure: unknown;
    try {
      if (route.permission) actor = await identify(c, route.permission, services);
      const { params, query, body } = await parse(route, c);
      reply = await route.handle({ c, params, query, body, actor, request_id }, services);
    } catch (error) {
      failure = error;
      reply = problemReply(error, request_id);
    }
    const status = reply.status ?? 200;
    if (route.method !== 'GET' || status >= 400 || reads++ % SAMPLED_READS === 0) {
      const latency_ms = Math.round((performance.now() - started) * 1000) / 1000;
      const result = failure instanceof Problem ? failure.code : status >= 500 ? 'internal' : 'ok';
      const line = {
        request_id,
        actor,
        method: c.req.method,
        path: c.req.path,
        status,
        result,
        latency_ms,
        ...reply.log,
      };
      if (status >= 500) services.log.error({ ...line, err: failure }, 'request');
      else services.log.info(line, 'request');
    }
    return respond(reply, request_id, services, isFrozen(c, services));
  };
}

const REQUEST_ID = /^[A-Za-z0-9._:-]{1,128}$/;

/** The caller's id where it is a plain one, so that both sides' logs show the same. */
function requestId(c: HttpContext): string {
  const given = c.req.header('x-request-id');
  return given && REQUEST_ID.test(given) ? given : crypto.randomUUID();
}

async function identify(c: HttpContext, permission: Permission, { verifyToken }: Services): Promise<string> {
  const header = c.req.header('authorization');
  const token = /^Bearer +(\S+)$/i.exec(header ?? '')?.[1];
  if (!token) throw new Problem('unauthenticated', 'Send a token as "Authorization: Bearer <token>".');
  const verified = verifyToken(token);
  const { actor, role } = verified instanceof Promise ? await verified : verified;
  if (!mayDo(role, permission)) {
    throw new Problem('forbidden', `This takes the permission ${permission}, which the role ${role} does not have.`);
  }
  return actor;
}

async function parse(route: Route, c: HttpContext) {
  return {
    params: route.params ? check(route.params, c.req.param(), 'path') : {},
    query: route.query ? check(route.query, queryOf(c), 'query') : {},
    body: route.body ? check(route.body, await readJson(c), 'body') : undefined,
  };
}

/** A parameter that comes twice is an array, which no schema takes. Hono's own parser costs as much as all the rest. */
function queryOf({ req }: HttpContext): unknown {
  const start = req.url.indexOf('?');
  return start === -1 ? {} : parseQuery(req.url.slice(start + 1));
}

/** @throws {Problem} invalid-request, naming every field that is wrong */
export function check<T>(schema: z.ZodType<T>, value: unknown, where: string): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const errors = result.error.issues.map(({ path, message }) => ({ field: path.join('.'), message }));
  const detail = errors.map(({ field, message }) => (field ? `${field}: ${message}` : message)).join('; ');
  throw new Problem('invalid-request', `The ${where} is not valid: ${detail}.`, { in: where, errors });
}

/** A model whose log cannot be followed is served as it was before. */
function isFrozen(c: HttpContext, { registry }: Services): boolean {
  return registry().models.get(c.req.param('model') ?? '')?.frozen != null;
}

function respond(reply: Reply, request_id: string, services: Services, frozen: boolean): Response {
  const headers: Record<string, string> = {
    'X-Request-Id': request_id,
    'Registry-Revision': services.revision(),
    'X-Content-Type-Options': 'nosniff',
    'Cache-Control': 'no-cache',
  };
  if (services.stale() || frozen) headers['Registry-Stale'] = 'true';
  let body = reply.body ?? null;
  if (reply.json !== undefined) {
    headers['Content-Type'] = 'application/json';
    body = JSON.stringify(reply.json);
  }
  Object.assign(headers, reply.headers);
  return new Response(body, { status: reply.status ?? 200, headers });
}
