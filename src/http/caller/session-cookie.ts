import { SESSION_COOKIE } from '../../access/sessions.ts';
import { Problem } from '../../domain/errors.ts';
import type { HttpContext } from '../server/context.ts';

/** Returns the session cookie. @throws {Problem} unauthenticated if there are two: another site may have set one */
export function sessionCookie(c: HttpContext): string | undefined {
  const header = c.req.header('cookie');
  if (header === undefined) return undefined;
  const prefix = `${SESSION_COOKIE}=`;
  const [cookie, another] = header
    .split(';')
    .map((pair) => pair.trim())
    .filter((pair) => pair.startsWith(prefix));
  if (another !== undefined)
    throw new Problem('unauthenticated', 'There are two session cookies. Delete the cookies of this site.');
  return cookie?.slice(prefix.length);
}
