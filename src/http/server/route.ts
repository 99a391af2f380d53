import type { ServerResponse } from 'node:http';
import type { z } from 'zod';
import type { Wish } from '../../access/policy.ts';
import type { ProblemCode } from '../../domain/errors.ts';
import type { Permission } from '../../domain/permissions.ts';
import type { Caller } from '../caller/caller.ts';

import type { Services } from '../services.ts';
import type { HttpContext } from './context.ts';

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

/** What a handler answers: `json`, or a `body` as it is. `log` goes into the request's log line. */
export interface Reply {
  status?: number;
  headers?: Record<string, string>;
  json?: unknown;
  body?: string | Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array> | null;
  /** Writes to the response itself, whose headers are sent, and ends it in its own time. */
  stream?(outgoing: ServerResponse): void;
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
  identity: Caller;
  request_id: string;
  /** Whether the caller may do something else, too: what a listing shows is what may be read. */
  may(wish: Wish): boolean;
}

type Shape = z.ZodType;

/** One route: everything that is asked, checked, documented and logged about it, and what answers it. */
export interface Route<P extends Shape = Shape, Q extends Shape = Shape, B extends Shape = Shape> {
  method: Method;
  /** As Hono has it; `:path{.+}` takes slashes too. */
  path: string;
  /** `identified`: any valid credential; null: none is asked for. */
  permission: Permission | 'identified' | null;
  summary: string;
  /** What it writes, for its log lines: the type of an event, or a word like one. */
  event_type?: string;
  params?: P;
  query?: Q;
  body?: B;
  /** Where the handler reads the body itself: its media types, with the schema of what they mean, for the documentation. */
  rawBody?: Record<string, z.ZodType | null>;
  /** Of a success: a media type where it is not JSON, and others that `Accept` may ask for. */
  answer: { status: number; schema?: z.ZodType; type?: string; others?: Record<string, z.ZodType> };
  errors: readonly ProblemCode[];
  handle(request: Request<z.output<P>, z.output<Q>, z.output<B>>, services: Services): Reply | Promise<Reply>;
}

/** Gives a route the types of its own schemas. */
export function route<P extends Shape, Q extends Shape, B extends Shape>(definition: Route<P, Q, B>): Route {
  return definition as unknown as Route;
}
