import type { ProblemDocument } from '../../api/problem.ts';
import { Problem } from '../../domain/errors.ts';
import type { Reply } from './route.ts';

/** Returns a problem document (RFC 9457) of at most 64 KiB. Other errors become `internal`, without their text. */
export function problemReply(error: unknown, request_id: string): Reply {
  const problem = error instanceof Problem ? error : new Problem('internal', 'See the log of the registry.', {}, error);
  return {
    status: problem.status,
    headers: { 'Content-Type': 'application/problem+json', ...extraHeaders(problem) },
    body: documentOf(problem, request_id),
  };
}

/** Refusals repeat names and values of the caller: longer ones are cut. */
const MAX_DOCUMENT_BYTES = 64 * 1024;
const MAX_DETAIL = 4_000;
const MAX_TEXT = 300;
const MAX_ENTRIES = 20;

function documentOf({ code, title, status, message, fields }: Problem, request_id: string): string {
  const document: ProblemDocument = {
    type: `urn:signalbox:error:${code}`,
    title,
    status,
    code,
    detail: cut(message, MAX_DETAIL),
    request_id,
  };
  const whole = JSON.stringify({ ...document, ...fields });
  if (Buffer.byteLength(whole) <= MAX_DOCUMENT_BYTES) return whole;
  const shortened = JSON.stringify({ ...document, ...(shorten(fields) as object) });
  return Buffer.byteLength(shortened) <= MAX_DOCUMENT_BYTES ? shortened : JSON.stringify(document);
}

/** Cuts texts and lists. The fields of a `Problem` are flat: a list of objects is the deepest. */
function shorten(value: unknown): unknown {
  if (typeof value === 'string') return cut(value, MAX_TEXT);
  if (Array.isArray(value)) return value.slice(0, MAX_ENTRIES).map(shorten);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).slice(0, MAX_ENTRIES);
  return Object.fromEntries(entries.map(([key, member]) => [cut(key, MAX_TEXT), shorten(member)]));
}

/** Returns the text, or its beginning and an ellipsis. It does not split a surrogate pair. */
export function cut(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length).toWellFormed()}…`;
}

function extraHeaders({ code, status, fields }: Problem): Record<string, string> {
  if (code === 'unauthenticated') return { 'WWW-Authenticate': 'Bearer' };
  if (code === 'method-not-allowed') return { Allow: (fields.methods as string[]).join(', ') };
  if (code === 'range-not-satisfiable') return { 'Content-Range': `bytes */${fields.size}` };
  if (code === 'mismatching-upload-offset') return { 'Upload-Offset': String(fields.expected_offset) };
  // In seconds (RFC 9110, section 10.2.3).
  if (typeof fields.retry_after === 'number') return { 'Retry-After': String(fields.retry_after) };
  return status === 503 ? { 'Retry-After': '1' } : {};
}
