import { Hono } from 'hono';
import type { Logger } from 'pino';
import { isKey } from './access/keys.ts';
import type { IdentityView } from './api/identity.ts';
import { createClient, RegistryUnreachable } from './client/client.ts';
import type { GatewayConfig } from './config.ts';
import { sha256Hex } from './domain/digest.ts';
import { Problem } from './domain/errors.ts';
import { DEFAULT_MODEL, isModelName } from './domain/names.ts';
import type { HttpApp, HttpContext } from './http/server/context.ts';
import { listen } from './http/server/listen.ts';
import { problemReply } from './http/server/problem.ts';
import { requestId } from './http/server/request-id.ts';
import { BoundedMap } from './structures/bounded-map.ts';

/** What is served at the edge, and where the registry has it. */
const FORWARDED = { '/admin/models': '/models', '/admin/models/latest': '/models/latest' };

const TIMEOUT_MS = 5_000;
/** How long a revoked key may still open the gateway, and a new one may not yet. */
const BELIEVED_MS = 10_000;
const MAX_REMEMBERED = 10_000;

export interface GatewayOptions {
  config: GatewayConfig;
  log: Logger;
  timeoutMs?: number;
}

/**
 * Serves the registry's short listing of a model to holders of a gateway key for it, and nothing else. Of a request only its
 * id and the model's name go on: what is asked of the registry is made here, under a token of the gateway's own.
 */
export function startGateway({ config, log, timeoutMs = TIMEOUT_MS }: GatewayOptions) {
  const { REGISTRY_DSN: dsn, REGISTRY_TOKEN: token, HOST: hostname, PORT: port } = config;
  const registry = createClient({ dsn, token: async () => token });
  const checked = new BoundedMap<string, { refusal: Problem | null; until: number }>(MAX_REMEMBERED);
  const app: HttpApp = new Hono();
  for (const [path, target] of Object.entries(FORWARDED)) {
    app.get(path, (c) => answer(c, (request_id) => forward(c, target, request_id)));
  }
  app.get('/healthz', (c) => c.json({ status: 'ok' }));
  app.notFound((c) => answer(c, () => Promise.reject(new Problem('not-found', `There is no ${c.req.path} here.`))));
  return listen(app, { hostname, port });

  async function answer(c: HttpContext, handle: (request_id: string) => Promise<object>): Promise<Response> {
    const started = performance.now();
    const request_id = requestId(c);
    const tell = (status: number, result: string, err?: unknown) => {
      const latency_ms = Math.round((performance.now() - started) * 1000) / 1000;
      log.info({ request_id, method: c.req.method, path: c.req.path, status, result, latency_ms, err }, 'request');
    };
    try {
      const json = await handle(request_id);
      tell(200, 'ok');
      return c.json(json, 200, { 'X-Request-Id': request_id, 'Cache-Control': 'no-cache' });
    } catch (error) {
      const problem = problemFrom(error);
      const { status = 500, headers, body } = problemReply(problem, request_id);
      tell(status, problem.code, problem.cause);
      return new Response(body as string, { status, headers: { ...headers, 'X-Request-Id': request_id } });
    }
  }

  async function forward(c: HttpContext, target: string, request_id: string): Promise<object> {
    const model = modelOf(c);
    await checkKey(c.req.header('x-api-key') ?? '', model, request_id);
    return ask<object>(target, token, model, request_id).catch((error: unknown) => {
      throw ownRefusal(error, model) ?? error;
    });
  }

  /** The registry's answer, whole. @throws {Problem}, {RegistryUnreachable}, TimeoutError */
  function ask<T>(path: string, credential: string, model: string, request_id: string): Promise<T> {
    const headers = { 'X-Request-Id': request_id, Authorization: `Bearer ${credential}` };
    return registry.call('GET', path, { query: { model }, headers, signal: AbortSignal.timeout(timeoutMs) });
  }

  /** @throws {Problem} unauthenticated, forbidden; as the registry said in the last seconds */
  async function checkKey(key: string, model: string, request_id: string): Promise<void> {
    if (!isKey(key)) throw new Problem('unauthenticated', 'Send an API key as X-API-Key.');
    const asked = `${sha256Hex(key)} ${model}`;
    let known = checked.get(asked);
    if (!known || known.until < performance.now()) {
      known = { refusal: await refusalOf(key, model, request_id), until: performance.now() + BELIEVED_MS };
      checked.set(asked, known);
    }
    if (known.refusal) throw known.refusal;
  }

  async function refusalOf(key: string, model: string, request_id: string): Promise<Problem | null> {
    try {
      const { permissions } = await ask<IdentityView>('/api/identity', key, model, request_id);
      if (permissions.includes('gateway')) return null;
      return new Problem('forbidden', `This takes a key with the permission gateway for ${model}.`);
    } catch (error) {
      if (error instanceof Problem && error.code === 'unauthenticated') return error;
      throw error;
    }
  }
}

/** @throws {Problem} invalid-request */
function modelOf(c: HttpContext): string {
  const [model = DEFAULT_MODEL, another] = c.req.queries('model') ?? [];
  if (another === undefined && isModelName(model)) return model;
  throw new Problem('invalid-request', 'The query is not valid: model must be the name of one model.', { in: 'query' });
}

/** That the registry does not let the gateway itself in is not its caller's doing; null for anything else. */
function ownRefusal(error: unknown, model: string): Problem | null {
  if (!(error instanceof Problem)) return null;
  if (error.code === 'forbidden') {
    const detail = `The gateway’s own token does not have the permission gateway for ${model}.`;
    return new Problem('bad-gateway', detail, {}, error);
  }
  if (error.code !== 'unauthenticated') return null;
  return new Problem('bad-gateway', 'The registry does not take the gateway’s token.', {}, error);
}

/** What the registry says is told on; that it says nothing, or nonsense, is the gateway's to tell. */
function problemFrom(error: unknown): Problem {
  if (error instanceof Problem) return error;
  const { name, cause } = error as Error;
  if (name === 'TimeoutError' || (cause as Error | undefined)?.name === 'TimeoutError') {
    return new Problem('gateway-timeout', 'The registry does not answer in time.', {}, error);
  }
  return error instanceof RegistryUnreachable
    ? new Problem('bad-gateway', 'The registry does not answer as it should.', {}, error)
    : new Problem('internal', 'See the log of the gateway.', {}, error);
}
