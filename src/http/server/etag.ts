import type { HttpContext } from './context.ts';

/** Whether the caller already has the representation (RFC 9110, section 13.1.2: weak comparison). */
export function notModified(c: HttpContext, etag: string): boolean {
  const header = c.req.header('if-none-match');
  if (header === undefined) return false;
  if (header === etag || header.trim() === '*') return true;
  return header.split(',').some((tag) => tag.trim().replace(/^W\//, '') === etag);
}
