import type { HttpContext } from './context.ts';

const REQUEST_ID = /^[A-Za-z0-9._:-]{1,128}$/;

/** Returns the caller's id if it is plain, so that both logs show the same one; else a new id. */
export function requestId(c: HttpContext): string {
  const given = c.req.header('x-request-id');
  return given && REQUEST_ID.test(given) ? given : crypto.randomUUID();
}
