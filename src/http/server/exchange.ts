import type { Session } from '../../access/sessions.ts';
import type { HttpContext } from './context.ts';
import { requestId } from './request-id.ts';

/** A request, and what becomes known about it until the response is sent. */
export interface Exchange {
  readonly c: HttpContext;
  readonly request_id: string;
  /** In ms, as `performance.now()`. */
  readonly started: number;
  actor: string;
  session?: Session;
  model?: string | undefined;
  version?: string | undefined;
  /** Why the request was refused. */
  failure?: unknown;
  /** Headers of the response, whether the request is refused or not. */
  headers: Record<string, string>;
}

export function beginExchange(c: HttpContext): Exchange {
  return { c, request_id: requestId(c), started: performance.now(), actor: 'anonymous', headers: {} };
}
