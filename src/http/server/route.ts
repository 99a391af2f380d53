import type { ServerResponse } from 'node:http';
import type { z } from 'zod';
import type { AccessRequest } from '../../access/policy.ts';
import type { ProblemCode } from '../../domain/errors.ts';
import type { Permission } from '../../domain/permissions.ts';
import type { Caller } from '../caller/caller.ts';
import type { Services } from '../services.ts';
import type { HttpContext } from './context.ts';

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

/** The answer of a handler: `json`, or a `body` as it is. `log` is added to the log line of the request. */
export interface Reply {
  status?: number;
  headers?: Record<string, string>;
  json?: unknown;
  body?: string | Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array> | null;
  /** Writes to the response after its headers are sent, and ends it later. */
  stream?(outgoing: ServerResponse): void;
  log?: Record<string, unknown>;
}

/** A request whose path, query and body match the schemas of its route. */
export interface Request<P, Q, B> {
  c: HttpContext;
  params: P;
  query: Q;
  body: B;
  /** The name of the caller; `anonymous` if the route requires no credential. */
  actor: string;
  identity: Caller;
  request_id: string;
  /** Whether the caller has another permission. Listings show only what the caller may read. */
  may(wanted: AccessRequest): boolean;
}

type Shape = z.ZodType;

/** A route: what is checked, documented and logged, and its handler. */
export interface Route<P extends Shape = Shape, Q extends Shape = Shape, B extends Shape = Shape> {
  method: Method;
  /** In Hono's syntax; `:path{.+}` matches slashes too. */
  path: string;
  /** `identified`: any valid credential; null: no credential. */
  permission: Permission | 'identified' | null;
  summary: string;
  /** The type of the event that it appends, or a similar word, for log lines. */
  event_type?: string;
  params?: P;
  query?: Q;
  body?: B;
  /** For a handler that reads the body itself: its media types and their schemas, for the documentation. */
  rawBody?: Record<string, z.ZodType | null>;
  /** The successful response: its media type if not JSON, and others that `Accept` can select. */
  answer: { status: number; schema?: z.ZodType; type?: string; others?: Record<string, z.ZodType> };
  /** Whether a caller that asks for it may be redirected to the artifact store. */
  redirects?: true;
  errors: readonly ProblemCode[];
  handle(request: Request<z.output<P>, z.output<Q>, z.output<B>>, services: Services): Reply | Promise<Reply>;
}

/** Types the handler of a route by the schemas of the route. */
export function route<P extends Shape, Q extends Shape, B extends Shape>(definition: Route<P, Q, B>): Route {
  return definition as unknown as Route;
}
