import { Problem } from '../../domain/errors.ts';
import type { Services } from '../services.ts';
import type { Exchange } from './exchange.ts';
import type { Reply, Route } from './route.ts';

const SAMPLED = 100;

/** Returns the stage that logs each request; of a frequent route, only refusals and every 100th success. */
export function requestLogger({ method, permission, event_type }: Route, { log }: Services) {
  const frequent = method === 'GET' || permission === 'report';
  let answered = 0;

  return (exchange: Exchange, { status = 200, log: written }: Reply): void => {
    if (frequent && status < 400 && answered++ % SAMPLED !== 0) return;
    const { c, request_id, actor, started, model, version, failure } = exchange;
    const latency_ms = Math.round((performance.now() - started) * 1000) / 1000;
    const result = failure instanceof Problem ? failure.code : status >= 500 ? 'internal' : 'ok';
    const request = { request_id, actor, method: c.req.method, path: c.req.path };
    const line = { ...request, status, result, latency_ms, event_type, model, version, ...written };
    if (status >= 500) log.error({ ...line, err: failure }, 'request');
    else log.info(line, 'request');
  };
}
