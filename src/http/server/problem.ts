import type { ProblemDocument } from '../../api/problem.ts';
import { Problem } from '../../domain/errors.ts';
import type { Reply } from './route.ts';

/** A refusal as an RFC 9457 problem document. What is no `Problem` is told as `internal`, without its text. At most 64 KiB. */
export function problemReply(error: unknown, request_id: string): Reply {
  const problem = error instanceof Problem ? error : new Problem('internal', 'See the log of the registry.', {}, error);
  return {
    status: problem.status,
    headers: { 'Content-Type': 'application/problem+json', ...extraHeaders(problem) },
    body: documentOf(problem, request_id),
  };
}

/** Callers choose names and values that refusals repeat: what is longer than this is cut. */
const MAX_DOCUMENT_BYTES = 64 * 1024;
const MAX_DETAIL = 4_000;
const MAX_TEXT = 300;
const MAX_ENTRIES = 20;

function documentOf({ code, title, status, message, fields }: Problem, request_id: string): string {
  const told: ProblemDocument = {
    type: `urn:signalbox:error:${code}`,
    title,
    status,
    code,
    detail: cut(message, MAX_DETAIL),
    request_id,
  };
  const whole = JSON.stringify({ ...told, ...fields });
  if (Buffer.byteLength(whole) <= MAX_DOCUMENT_BYTES) return whole;
  const shortened = JSON.stringify({ ...told, ...(shorten(fields) as object) });
  return Buffer.byteLength(shortened) <= MAX_DOCUMENT_BYTES ? shortened : JSON.stringify(told);
}

/** The same with its texts and lists cut. What a `Problem` carries is flat: a list of objects is the deepest. */
function shorten(value: unknown): unknown {
  if (typeof value === 'string') return cut(value, MAX_TEXT);
  if (Array.isArray(value)) return value.slice(0, MAX_ENTRIES).map(shorten);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).slice(0, MAX_ENTRIES);
  return Object.fromEntries(entries.map(([key, member]) => [cut(key, MAX_TEXT), shorten(member)]));
}

/** The text, and that it goes on where it is longer; no half characters. */
export function cut(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length).toWellFormed()}…`;
}

function extraHeaders({ code, status, fields }: Problem): Record<string, string> {
  if (code === 'unauthenticated') return { 'WWW-Authenticate': 'Bearer' };
  if (code === 'method-not-allowed') return { Allow: (fields.methods as string[]).join(', ') };
  if (code === 'range-not-satisfiable') return { 'Content-Range': `bytes */${fields.size}` };
  // Seconds after which asking again makes sense (RFC 9110, section 10.2.3).
  if (typeof fields.retry_after === 'number') return { 'Retry-After': String(fields.retry_after) };
  return status === 503 ? { 'Retry-After': '1' } : {};
}
