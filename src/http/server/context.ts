import type { HttpBindings } from '@hono/node-server';
import type { Context, Hono } from 'hono';

/** A request and its response; `env` has Node's objects for both. */
export type HttpContext = Context<{ Bindings: HttpBindings }>;
export type HttpApp = Hono<{ Bindings: HttpBindings }>;
/** Answers one request of the server. */
export type Fetch = (request: globalThis.Request, env: HttpBindings) => Response | Promise<Response>;
