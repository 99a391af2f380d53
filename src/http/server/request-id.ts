import type { HttpContext } from './context.ts';

const REQUEST_ID = /^[A-Za-z0-9._:-]{1,128}$/;

/** The caller's id where it is a plain one, so that both sides' logs show the same. */
export function requestId(c: HttpContext): string {
  const given = c.req.header('x-request-id');
  return given && REQUEST_ID.test(given) ? given : crypto.randomUUID();
}
