import { Problem } from '../domain/errors.ts';
import type { Reply } from './route.ts';

/** A refusal as an RFC 9457 problem document. What is no `Problem` is told as `internal`, without its text. */
export function problemReply(error: unknown, request_id: string): Reply {
  const problem = error instanceof Problem ? error : new Problem('internal', 'See the log of the registry.', {}, error);
  const { code, title, status, message: detail, fields } = problem;
  const type = `urn:signalbox:error:${code}`;
  return {
    status,
    headers: { 'Content-Type': 'application/problem+json', ...extraHeaders(problem) },
    body: JSON.stringify({ type, title, status, code, detail, request_id, ...fields }),
  };
}

function extraHeaders({ code, status, fields }: Problem): Record<string, string> {
  if (code === 'unauthenticated') return { 'WWW-Authenticate': 'Bearer' };
  if (code === 'method-not-allowed') return { Allow: (fields.methods as string[]).join(', ') };
  if (code === 'range-not-satisfiable') return { 'Content-Range': `bytes */${fields.size}` };
  // Seconds after which asking again makes sense (RFC 9110, section 10.2.3).
  if (typeof fields.retry_after === 'number') return { 'Retry-After': String(fields.retry_after) };
  return status === 503 ? { 'Retry-After': '1' } : {};
}
